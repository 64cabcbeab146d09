"""Files that would run code if a pickle in them were loaded: each makes the file `canary`, or imports a module that only it names."""

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

NAMED = "antigravity"  # a module that nothing else imports


def opcodes(module: str, name: str, *arguments: str) -> bytes:
    """A pickle, protocol 0, that calls module.name(*arguments)."""
    return f"c{module}\n{name}\n(".encode() + b"".join(f"V{a}\n".encode() for a in arguments) + b"tR."


def calls(canary: str) -> dict[str, bytes]:
    """Pickles that call something."""
    code = f"open({canary!r}, 'w')"
    touch = f"touch {canary}"
    inner = pickle.dumps(Call("os", "system", touch))
    found = {
        "os.system": opcodes("os", "system", touch),
        "posix.system": opcodes("posix", "system", touch),
        "os.popen": opcodes("os", "popen", touch),
        "subprocess.getoutput": opcodes("subprocess", "getoutput", touch),
        "builtins.eval": opcodes("builtins", "eval", code),
        "builtins.exec": opcodes("builtins", "exec", code),
        "__builtin__.eval": opcodes("__builtin__", "eval", code),
        "builtins.open": opcodes("builtins", "open", canary, "w"),
        "__import__": opcodes("builtins", "__import__", NAMED),
        "importlib": opcodes("importlib", "import_module", NAMED),
        "runpy": opcodes("runpy", "run_module", NAMED),
        "a name in a module": opcodes(NAMED, "fly"),
        "torch.hub.load": opcodes("torch.hub", "load", canary, "x"),
        "pathlib.touch": b"cpathlib\nPath.touch\n(cpathlib\nPath\n(" + f"V{canary}\n".encode() + b"tRtR.",
        "getattr": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(Vos\ntRVsystem\ntR("
        + f"V{touch}\n".encode()
        + b"tR.",
        "functools.partial": b"cfunctools\npartial\n(cos\nsystem\n" + f"V{touch}\n".encode() + b"tR(tR.",
        "map": b"cbuiltins\nlist\n(cbuiltins\nmap\n(cos\nsystem\n(" + f"V{touch}\n".encode() + b"ltRtR.",
        "operator.methodcaller": b"coperator\nmethodcaller\n(Vsystem\n"
        + f"V{touch}\n".encode()
        + b"tR(cos\nsystem\ntR.",
        "INST": b"(" + f"V{touch}\n".encode() + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + f"V{touch}\n".encode() + b"o.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + f"V{touch}\n".encode() + b"\x85\x81.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(touch)]) + touch.encode() + b"\x85R.",
        "EXT": b"\x80\x02\x82\x01.",
        "BUILD": b"cos\nsystem\n(dV__setstate__\n" + opcodes("os", "system", touch)[:-1] + b"sb.",
        "copyreg": b"ccopyreg\n_reconstructor\n(cos\nsystem\ncbuiltins\nobject\nNtR.",
        "nested pickle.loads": b"cpickle\nloads\n(" + b"C" + bytes([len(inner)]) + inner + b"tR.",
        "torch._load_from_bytes": b"ctorch.storage\n_load_from_bytes\n(C" + bytes([len(inner)]) + inner + b"tR.",
        "torch.load": opcodes("torch", "load", canary),
        "numpy": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(I1\n(I1\ntcnumpy\ndtype\n(VO8\ntRI00\n(l"
        + opcodes("os", "system", touch)[:-1]
        + b"atb.",
        "numpy.load": opcodes("numpy", "load", canary),
        "torch.ops.load_library": opcodes("torch.ops", "load_library", canary),
        "torch.utils.cpp_extension": opcodes("torch.utils.cpp_extension", "load_inline", "x", canary),
        "code object": opcodes("types", "CodeType", canary),
        "_target_": pickle.dumps(
            {"_target_": "os.system", "_args_": [touch], "_instantiator": f"{NAMED}.fly"}, protocol=2
        ),
    }
    return found | {f"protocol {n}": pickle.dumps(Call("os", "system", touch), protocol=n) for n in range(6)}


class Call:
    """Is pickled as a call."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.function, self.arguments = getattr(__import__(module), name), arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def zipped(pickled: bytes) -> bytes:
    """A file of torch.save whose pickle is this one."""
    ours = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, ours)
    buffer = io.BytesIO()
    with zipfile.ZipFile(ours) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickled if name.endswith("data.pkl") else source.read(name))
    return buffer.getvalue()


def legacy(pickled: bytes) -> bytes:
    """torch's format before 1.6: pickles one after the other."""
    heads = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*heads, pickled, pickle.dumps([], protocol=2)])


def tarred(pickled: bytes) -> bytes:
    """torch's first format."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("pickle", "storages", "tensors"):
            about = tarfile.TarInfo(name)
            about.size = len(pickled)
            archive.addfile(about, io.BytesIO(pickled))
    return buffer.getvalue()


def scripted(pickled: bytes) -> bytes:
    """A TorchScript archive."""
    buffer = io.BytesIO(zipped(pickled))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/constants.pkl", pickled)
        archive.writestr("archive/code/__torch__.py", "import antigravity\n")
    return buffer.getvalue()


def as_numpy(pickled: bytes) -> bytes:
    """An object array as .npy."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([None]), allow_pickle=True)
    return buffer.getvalue()[:128] + pickled


def in_numpy_archive(pickled: bytes) -> bytes:
    """The same as .npz."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", as_numpy(pickled))
    return buffer.getvalue()


def in_header(pickled: bytes) -> bytes:
    """A safetensors file that holds a pickle as its header."""
    return struct.pack("<Q", len(pickled)) + pickled


PACKS: dict[str, Callable[[bytes], bytes]] = {
    "zip": zipped,
    "raw": bytes,  # also what DCP calls .metadata, and others vocab.pkl or rng_state.pth
    "legacy": legacy,
    "tar": tarred,
    "TorchScript": scripted,
    "npy": as_numpy,
    "npz": in_numpy_archive,
    "safetensors": in_header,
}
