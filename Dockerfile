# The nodes of this package on ROS 2, installed as docs/install.md says.
# docker build -t pvm_perception --build-arg ROS_DISTRO=jazzy .
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

WORKDIR /ros2_ws
RUN apt-get update && apt-get install -y --no-install-recommends \
        python3-venv python3-colcon-common-extensions g++ make \
    && rm -rf /var/lib/apt/lists/*

# what rosdep knows: a layer that stays until package.xml changes
COPY package.xml src/pvm_perception/package.xml
RUN apt-get update && rosdep update --rosdistro $ROS_DISTRO \
    && rosdep install --from-paths src --ignore-src -y \
    && apt-get install -y --no-install-recommends \
        ros-$ROS_DISTRO-nav2-msgs ros-$ROS_DISTRO-tf2-msgs ros-$ROS_DISTRO-foxglove-msgs \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv --system-site-packages venv && touch venv/COLCON_IGNORE \
    && venv/bin/python -m pip install safetensors threadpoolctl rosbags

COPY . src/pvm_perception
RUN . /opt/ros/$ROS_DISTRO/setup.sh \
    && venv/bin/python -m colcon build --packages-select pvm_perception

ENTRYPOINT ["bash", "-c", "source /ros2_ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "pvm_perception", "tracker.launch.py"]
