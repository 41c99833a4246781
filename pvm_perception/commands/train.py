"""`train`: teach a network on simulated scenes, from nothing or from a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from pvm_perception.commands.arguments import add_device
from pvm_perception.core.config import PRESETS
from pvm_perception.errors import PvmError
from pvm_perception.training.source_paths import SHARES
from pvm_perception.types import TARGETS

EXAMPLE = "python -m pvm_perception train --from models/robot.safetensors --hours 2 --photos build/photos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/train"),
        help="folder to write model, checkpoint and learning curve to",
    )
    parser.add_argument(
        "--hours", type=float, default=2.0, help="hours of training; the learning rate falls over this time"
    )
    parser.add_argument(
        "--frames",
        type=int,
        help="number of frames after which training ends, if the hours are not over before "
        "(default: no limit)",
    )
    parser.add_argument(
        "--preset",
        dest="network",
        choices=sorted(PRESETS),
        default="robot",
        help="network to train from nothing, where --from is not given",
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="model file or checkpoint to go on from (default: new weights, see --preset)",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        help="folder of photographs for backgrounds, as `make train-data` collects them "
        "(default: all are painted)",
    )
    parser.add_argument(
        "--stills",
        type=Path,
        nargs="+",
        default=(),
        metavar="DIR",
        help="folders of labelled stills (images with groundtruth.csv or labels.csv) to learn from "
        "(default: none)",
    )
    parser.add_argument(
        "--stills-part",
        type=float,
        nargs=2,
        metavar=("FROM", "TO"),
        help="which stills of each folder, as shares in the order of their names; 0 0.9 "
        "keeps the last tenth for evaluation (default: all)",
    )
    parser.add_argument(
        "--video",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="unlabelled real video to learn to predict from: folders of frames, video "
        "files, bags, and folders of these; nothing is taught about targets in it (default: none)",
    )
    parser.add_argument(
        "--held-back",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="real video, as for --video, on which the forecast is measured at each "
        "validation and from which nothing is learnt (default: none)",
    )
    parser.add_argument(
        "--learn",
        dest="learns",
        choices=("all", "codes", "readout", "forecast", *TARGETS),
        default="all",
        help="what learns: the whole network; its codes, without labels; its readout alone, on codes that "
        "stay as they are; its forecast alone, several times as fast; or the part of the readout that tells "
        "whether one target is there, so that boxes and the other targets' answers stay as they are",
    )
    parser.add_argument(
        "--teacher",
        dest="teachers",
        type=_teacher,
        nargs="+",
        default=(),
        metavar="TARGET=MODEL",
        help="model file whose answers for a target are learnt instead of the truth, so that training on "
        "other scenes does not forget it, as stop_sign=models/robot.safetensors (default: the truth for all)",
    )
    parser.add_argument(
        "--negatives",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="as --video, but known to hold no target: every box in it is an error (default: none)",
    )
    parser.add_argument(
        "--shares",
        type=_by_kind,
        nargs="+",
        default=(),
        metavar="KIND=SHARE",
        help="shares of the clips by kind, the rest is painted: "
        + ", ".join(f"{kind} ({share:.2g})" for kind, share in SHARES.items())
        + "; pasted: targets cut out of stills, thrown and laid onto video and photographs; "
        "turning: painted, seen from a robot that turns",
    )
    parser.add_argument(
        "--streams", type=int, default=16, help="number of streams that the network learns from side by side"
    )
    parser.add_argument("--workers", type=int, default=1, help="number of processes that render scenes")
    parser.add_argument(
        "--seed", type=int, default=1, help="number that fixes the scenes and the first weights"
    )
    parser.add_argument("--rate", type=float, help="highest learning rate (default: the preset's)")
    parser.add_argument(
        "--gains",
        type=_by_kind,
        nargs="+",
        default=(),
        metavar="KIND=GAIN",
        help="strength of the context links of a kind, as lateral=0.5: 0 cuts them, 1 is the usual "
        "(default: as in the model)",
    )
    parser.add_argument(
        "--gain-speed",
        type=float,
        metavar="FACTOR",
        help="learning rate of the gains themselves over the weights' rate, such as 1; 0 holds them "
        "(default: as in the model)",
    )
    parser.add_argument(
        "--replay",
        type=float,
        default=0.15,
        metavar="SHARE",
        help="share of the clips, 0 to 1, that are the hardest so far, seen once more",
    )
    parser.add_argument(
        "--solid",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the clips, 0 to 1, that are scenes in three dimensions; needs panda3d",
    )
    parser.add_argument("--shortest", type=int, default=2, help="frames in the shortest clip")
    parser.add_argument(
        "--longest", type=int, default=64, help="frames in the longest clip; few clips are so long"
    )
    parser.add_argument(
        "--average-every",
        type=int,
        default=50,
        metavar="STEPS",
        help="under mpirun: steps after which the ranks average their networks",
    )
    add_device(parser)
    parser.add_argument(
        "--validate-every",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="seconds between two validations, each of which writes model and checkpoint",
    )
    parser.add_argument(
        "--validation-clips", type=int, default=160, help="number of generated clips in a validation"
    )
    parser.add_argument(
        "--calibration-scenes",
        type=int,
        default=64,
        help="number of scenes at the end from which the meaning of the scores is fitted; "
        "0 = leave them as they are",
    )


def _by_kind(text: str) -> tuple[str, float]:
    """Return KIND=NUMBER as a pair."""
    kind, _, number = text.partition("=")
    try:
        return kind, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not KIND=NUMBER, such as pasted=0.2 or lateral=0.5"
        ) from None


def _teacher(text: str) -> tuple[str, Path]:
    """Return TARGET=MODEL as a pair."""
    target, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not TARGET=MODEL, such as stop_sign=model.safetensors")
    return target, Path(path)


def run(args: argparse.Namespace) -> int:
    """Train; the model, its checkpoint and the learning curve land in the output folder."""
    from pvm_perception.training.reducer import join
    from pvm_perception.training.train import Trainer, TrainOptions

    options = TrainOptions(
        **{name: value for name, value in vars(args).items() if name in TrainOptions.__dataclass_fields__}
    )
    for name in ("hours", "streams", "workers", "validation_clips", "shortest", "average_every"):
        if getattr(options, name) <= 0:
            raise PvmError(f"--{name.replace('_', '-')} must be above 0")
    if not 0 <= options.replay < 1:
        raise PvmError("--replay must be from 0 to below 1")
    part = args.stills_part or (0.0, 1.0)
    if not 0 <= part[0] < part[1] <= 1:
        raise PvmError("--stills-part must be two shares from 0 to 1, the first below the second")
    if not 0 <= options.solid <= 1:
        raise PvmError("--solid must be from 0 to 1")
    if options.longest < options.shortest or options.longest < 3:
        raise PvmError("--longest must be at least 3 and no less than --shortest")
    trainer = Trainer(options, join(options.device, 1 + options.workers))
    if trainer.ranks.size > 1 and trainer.config.learning.gain_speed:
        raise PvmError("gains learn in one process alone, not under mpirun; give --gain-speed 0")
    validation = trainer.run()
    if validation is not None:
        print(" ".join(f"{k}={v:.4f}" for k, v in validation.row().items()))
    return 0
