"""Messages that are well-formed and odd, and good ones; `odd_sender` throws them at nodes.

Everything is made from a `random.Random`, which hypothesis can stand in for.
"""

import math
from array import array

import numpy as np
from builtin_interfaces.msg import Time
from nav2_msgs.msg import SpeedLimit
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose, VisionInfo

NUMBERS = (
    math.nan,
    math.inf,
    -math.inf,
    0.0,
    -0.0,
    5e-324,
    -5e-324,
    1e-30,
    1e30,
    1e39,
    -1e39,
    1e200,
    1e308,
    -1.7976931348623157e308,
    2.0**31,
    2.0**63,
    1.0,
    -1.0,
)
NAMES = (
    "",
    "plumb_bob",
    "rational_polynomial",
    "equidistant",
    "thin_prism",
    "green_ball",
    "stop_sign",
    "camera",
    "\N{PILE OF POO}\0",
    "x" * 3000,
)
WIDTH, HEIGHT, FOCAL = 640, 480, 500.0  # of the good camera, px
TARGETS = {"follower": ("green_ball", 0.2), "guard": ("stop_sign", 0.75)}  # class and size, m


class Odd:
    """Draws messages in which a number is odd now and then; half of them are odd nowhere."""

    def __init__(self, rng):
        self.rng = rng
        self.share = rng.choice((0.0, 0.0, 0.05, 0.3))  # of the numbers that are odd

    def number(self, usual):
        """Return a usual number, or an odd one."""
        if self.rng.random() >= self.share:
            return usual
        return self.rng.choice((*NUMBERS, *(usual * f for f in (0.1, 0.5, 2.0, -1.0, 1e-3, 1e3))))

    def count(self, usual, most=2**32 - 1):
        if self.rng.random() >= self.share:
            return usual
        return self.rng.choice((0, 1, 2, most, usual // 2, self.rng.randint(0, most)))

    def name(self, usual):
        return usual if self.rng.random() >= self.share else self.rng.choice(NAMES)

    def header(self, now=100.0):
        sec, nanosec = divmod(round(now * 1e9), 10**9)
        stamp = Time(sec=sec, nanosec=nanosec)
        if self.rng.random() < self.share:
            stamp = self.rng.choice(
                (
                    Time(),
                    Time(sec=-(2**31)),
                    Time(sec=2**31 - 1, nanosec=2**32 - 1),
                    Time(sec=sec, nanosec=2**32 - 1),
                )
            )
        return Header(stamp=stamp, frame_id=self.name("camera"))

    def camera_info(self, now=100.0):
        usual = good_camera_info(now)
        message = CameraInfo(header=self.header(now), width=self.count(WIDTH), height=self.count(HEIGHT))
        message.k = [self.number(v) for v in usual.k]
        message.p = [self.number(v) for v in usual.p]
        model, lengths = self.rng.choice(
            (
                ("plumb_bob", (0, 4, 5)),
                ("equidistant", (4, 5)),
                ("rational_polynomial", (8, 12, 14)),
                (self.name("plumb_bob"), (1, 3, 6, 40)),
            )
        )
        message.distortion_model = model
        sizes = self.rng.choice((0.0, 0.1, 10.0))
        message.d = [self.number(self.rng.uniform(-sizes, sizes)) for _ in range(self.rng.choice(lengths))]
        if self.rng.random() < 0.1:
            message.binning_x, message.binning_y = self.count(1), self.count(2)
            roi = message.roi
            roi.x_offset, roi.y_offset, roi.width, roi.height = (self.count(v) for v in (10, 10, 300, 200))
        return message

    def odometry(self, now=100.0):
        message = Odometry(header=self.header(now))
        for part in (message.twist.twist.linear, message.twist.twist.angular):
            part.x, part.y, part.z = (self.number(0.3) for _ in range(3))
        return message

    def vision_info(self, _now=0.0):
        width, height = (self.rng.choice((usual, usual, usual, 1, 99999)) for usual in (WIDTH, HEIGHT))
        known = f"x, images of {width}x{height} px"
        return VisionInfo(
            method=self.name(self.rng.choice((known, "x, images of 0x0 px", known + "?"))),
            database_version=self.rng.randint(-(2**31), 2**31 - 1),
        )

    def speed_limit(self):
        return SpeedLimit(percentage=self.rng.random() < 0.5, speed_limit=self.number(50.0))

    def box_to_teach(self, now=100.0):
        """Return a Detection2D as somebody draws it, with or without a class."""
        message = Detection2D(header=self.header(now), id=self.name(""))
        message.bbox.center.position.x, message.bbox.center.position.y = (
            self.number(300.0),
            self.number(200.0),
        )
        message.bbox.center.theta = self.number(0.0)
        message.bbox.size_x, message.bbox.size_y = self.number(60.0), self.number(50.0)
        for _ in range(self.count(1, 3)):
            result = ObjectHypothesisWithPose()
            result.hypothesis.class_id, result.hypothesis.score = self.name("cup"), self.number(1.0)
            message.results.append(result)
        return message

    def detections(self, target, now=100.0):
        message = Detection2DArray(header=self.header(now))
        for _ in range(self.rng.choice((0, 1, 1, 1, 2, 5, 60))):
            d = Detection2D(id=self.name("1"))
            middle = d.bbox.center.position
            middle.x, middle.y = (self.number(self.rng.uniform(0, s)) for s in (WIDTH, HEIGHT))
            d.bbox.center.theta = self.number(0.0)
            d.bbox.size_x, d.bbox.size_y = (self.number(self.rng.uniform(1, 300)) for _ in range(2))
            for _ in range(self.rng.choice((0, 1, 1, 1, 3))):
                result = ObjectHypothesisWithPose()
                result.hypothesis.class_id, result.hypothesis.score = self.name(target), self.number(0.8)
                d.results = [*d.results, result]
            message.detections = [*message.detections, d]
        return message

    def depth(self, now=100.0):
        """Return a small depth image of either encoding, its header and sizes odd now and then."""
        kind, encoding = self.rng.choice(((np.float32, "32FC1"), (np.uint16, "16UC1")))
        rows, cols = self.rng.choice(((12, 16), (48, 64), (1, 1)))
        with np.errstate(all="ignore"):
            values = np.array([self.number(2.0 if kind is np.float32 else 2000.0) for _ in range(8)])
            values = np.nan_to_num(values) if kind is np.uint16 else values
            pixels = np.resize(values, (rows, cols)).astype(kind)
        message = Image(
            header=self.header(now),
            height=self.count(rows, 70000),
            width=self.count(cols, 70000),
            encoding=self.name(encoding),
            step=self.count(pixels.strides[0], 2**31),
            is_bigendian=self.rng.choice((0, 0, 1)),
        )
        message.data = array("B", pixels.tobytes())
        return message


def good_camera_info(now=100.0):
    f, cx, cy = FOCAL, WIDTH / 2, HEIGHT / 2
    return CameraInfo(
        header=header_of(now),
        width=WIDTH,
        height=HEIGHT,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0],
        p=[f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def good_detections(target, size, distance, now=0.0):
    """Return a target straight ahead, `distance` metres away; without a stamp, unless `now` is given."""
    message, d = Detection2DArray(header=header_of(now)), Detection2D(id="1")
    d.bbox.center.position.x, d.bbox.center.position.y = WIDTH / 2, HEIGHT / 2
    d.bbox.size_x = d.bbox.size_y = FOCAL * size / distance
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = target, 0.9
    d.results, message.detections = [result], [d]
    return message


def header_of(now):
    sec, nanosec = divmod(round(now * 1e9), 10**9)
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id="camera")
