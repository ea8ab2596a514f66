"""Where figures go: JSON lines, TensorBoard and the progress bar, all keyed by images seen."""

import json
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from t2i_jax.errors import UserError

try:
    from tensorboardX import SummaryWriter
except ImportError:  # the extra `trackers`
    SummaryWriter = None


class MetricsLog:
    """`metrics.jsonl` and TensorBoard events under `workdir`, and one progress bar on stderr."""

    def __init__(self, workdir: Path, images: int, total: int):
        """Go on after `images`: lines past it, which a killed run wrote after its last checkpoint, are cut off.

        Raises UserError where the directory cannot be written.
        """
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            self._file = workdir / "metrics.jsonl"
            keep_lines(self._file, images)
            self._stream = self._file.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"workdir: cannot write {workdir}: {error.strerror or error}") from error
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=images) if SummaryWriter else None
        self._bar = tqdm(total=total, initial=images, unit="img", unit_scale=True, dynamic_ncols=True, smoothing=0.1)

    def write(self, images: int, stage: str, values: dict[str, float]) -> None:
        """One line of figures at `images`."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self._stream.write(json.dumps({"images": images, "stage": stage, **rounded}) + "\n")
        self._stream.flush()
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(f"{stage}/{name}", value, images)

    def note(self, images: int, stage: str, kind: str, about: dict, text: str) -> None:
        """What is no figure, a "warning" or an "amendment": {kind: about} as a line of JSON, `text` for people."""
        self._stream.write(json.dumps({"images": images, "stage": stage, kind: about}) + "\n")
        self._stream.flush()
        if self._board:
            self._board.add_text(kind, text, images)
        self.say(f"t2i: {kind} at {images:,} images: {text}")

    def picture(self, images: int, name: str, pixels: np.ndarray) -> None:
        """A uint8 picture [H, W, 3] to TensorBoard."""
        if self._board:
            self._board.add_image(name, pixels, images, dataformats="HWC")

    def advance(self, images: int, stage: str, values: dict[str, float]) -> None:
        """Move the bar to `images`, showing the losses."""
        losses = {name.removesuffix("/loss"): f"{value:.3g}" for name, value in values.items() if name.endswith("/loss")}
        self._bar.set_description(stage, refresh=False)
        self._bar.set_postfix(losses, refresh=False)
        self._bar.update(images - self._bar.n)

    def say(self, line: str) -> None:
        """A line that does not tear the bar."""
        self._bar.write(line)

    def close(self) -> None:
        """Flush and close everything."""
        self._bar.close()
        self._stream.close()
        if self._board:
            self._board.close()


class Silence:
    """A MetricsLog of the processes that write nothing."""

    def write(self, images: int, stage: str, values: dict[str, float]) -> None: ...

    def note(self, images: int, stage: str, kind: str, about: dict, text: str) -> None: ...

    def picture(self, images: int, name: str, pixels: np.ndarray) -> None: ...

    def advance(self, images: int, stage: str, values: dict[str, float]) -> None: ...

    def say(self, line: str) -> None: ...

    def close(self) -> None: ...


def keep_lines(file: Path, images: int) -> None:
    """Cut `file` after the last whole line that is not past `images`; in place by renaming, so a kill loses nothing.

    An amendment made at `images` is past them: going on from there notes it again.
    """
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            about = json.loads(line)
            if about["images"] > images or about["images"] == images and "amendment" in about:
                break
        except (json.JSONDecodeError, KeyError):
            break
        kept.append(line + "\n")
    fresh = file.with_suffix(".partial")
    fresh.write_text("".join(kept), encoding="utf-8")
    os.replace(fresh, file)
