"""A robot simulated in MuJoCo drives by what the nodes see: command `sim`; the nodes do not know of it.

`world` describes scenes as MJCF, `robot` is the base's controller, `simulation` runs both in MuJoCo,
`bridge` is the process that speaks ROS 2, `score` makes figures of what happened.
"""
