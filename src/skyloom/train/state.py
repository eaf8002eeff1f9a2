"""The state of a training in the cache, from which a killed one goes on."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import torch

from skyloom import store
from skyloom.dataset import read
from skyloom.errors import InputError
from skyloom.provenance.canonical import digest


def key(settings: dict, options: dict, code: str, device, files: dict[str, str], **more) -> str:
    """What decides the weights: settings, options, code, the content of `files` {what: path}, the device, torch."""
    missing = [(what, path) for what, path in files.items() if not Path(path).is_file()]
    if missing:
        raise InputError(f"`{missing[0][0]}` is {missing[0][1]}, which does not exist; give an existing file")
    content = {what: read.file_hash([path]) for what, path in files.items()}
    return digest({"settings": settings, "options": options, "code": code, "device": device.type, "files": content,
                   "torch": torch.__version__, **more})


class State:
    """The training state of one model and seed in the cache, named by its key."""

    def __init__(self, folder: Path, model: str, seed: int, key: str):
        self.folder, self.stem, self.key = folder, f"{model}_seed{seed}_", key
        self.path = folder / f"{self.stem}{key}.pt"

    def load(self):
        """The saved state, None without one; InputError if the file is foreign or unreadable."""
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, weights_only=True)
        except Exception as error:  # torch raises whatever pickle and zip raise
            raise InputError(f"the training state {self.path} is unreadable ({type(error).__name__}); "
                             "delete it and rerun") from None
        if saved.get("key") != self.key:
            raise InputError(f"the training state {self.path} belongs to another configuration; delete it and rerun")
        return saved["state"]

    def save(self, state: dict) -> None:
        """Keep a state; OSError if the disk is full."""
        with store.replacing(self.path) as temporary:
            try:
                torch.save({"key": self.key, "state": {**state, "best": float(state["best"])}}, temporary)
            except RuntimeError as error:  # torch's writer doesn't say why it failed
                if shutil.disk_usage(self.folder).free > 1 << 20:
                    raise
                raise OSError(errno.ENOSPC, str(error), str(self.path)) from None

    def forget_others(self) -> None:
        """Remove the states of earlier configurations of this model and seed."""
        for path in self.folder.glob(f"{self.stem}{'[0-9a-f]' * 16}.pt"):
            if path != self.path:
                path.unlink()
