"""The message types of detections in a bag, as it carries them for readers without vision_msgs."""

# the same as interfaces/vision_msgs/msg, which is not installed; a test compares
DEFINITIONS = {
    "vision_msgs/msg/Point2D": ("float64 x\nfloat64 y\n"),
    "vision_msgs/msg/Pose2D": ("vision_msgs/Point2D position\nfloat64 theta\n"),
    "vision_msgs/msg/BoundingBox2D": ("vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n"),
    "vision_msgs/msg/ObjectHypothesis": ("string class_id\nfloat64 score\n"),
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\n"
        "vision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\n"
        "string id\n"
    ),
    "vision_msgs/msg/Detection2DArray": ("std_msgs/Header header\nvision_msgs/Detection2D[] detections\n"),
}
