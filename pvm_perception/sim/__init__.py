"""A closed loop with a physics engine in a robot's place; nothing in the nodes knows of it.

`world` describes scenes as MJCF, `robot` is the base's controller, `simulation` runs both in MuJoCo,
`bridge` is the process that speaks ROS 2, `score` makes figures of what happened.
"""
