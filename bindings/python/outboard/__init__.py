"""Outboard's C interface (outboard.h) for Python: load a model, ask it, get text."""
from __future__ import annotations

import ctypes
import ctypes.util
import os
import pathlib
import queue
import threading
from dataclasses import dataclass
from typing import Callable, Iterator, Optional, Sequence, Union

__all__ = ["Answer", "Error", "Model", "version"]


class Error(Exception):
    """What was tried, what came back, and what can be done."""


class _Message(ctypes.Structure):
    _fields_ = [("role", ctypes.c_char_p), ("content", ctypes.c_char_p)]


class _Request(ctypes.Structure):
    _fields_ = [("messages", ctypes.POINTER(_Message)), ("message_count", ctypes.c_size_t), ("prompt", ctypes.c_char_p),
                ("tokens", ctypes.POINTER(ctypes.c_int32)), ("token_count", ctypes.c_size_t), ("max_tokens", ctypes.c_int),
                ("temperature", ctypes.c_float), ("top_k", ctypes.c_int), ("top_p", ctypes.c_float), ("min_p", ctypes.c_float),
                ("repeat_penalty", ctypes.c_float), ("seed", ctypes.c_int64), ("stop", ctypes.POINTER(ctypes.c_char_p)),
                ("stop_count", ctypes.c_size_t), ("json_schema", ctypes.c_char_p), ("grammar", ctypes.c_char_p)]


class _Result(ctypes.Structure):
    _fields_ = [("finish", ctypes.c_char_p), ("prompt_tokens", ctypes.c_int), ("cached_tokens", ctypes.c_int),
                ("answer_tokens", ctypes.c_int), ("prompt_seconds", ctypes.c_double), ("answer_seconds", ctypes.c_double)]


_OnText = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def _load() -> ctypes.CDLL:
    here = pathlib.Path(__file__).parent
    named = os.environ.get("OUTBOARD_LIBRARY")
    tried = [named] if named else [*map(str, sorted(here.glob("liboutboard-c.*"))), ctypes.util.find_library("outboard-c"),
                                   "liboutboard-c.so.0", "liboutboard-c.0.dylib"]
    problems = []
    for path in filter(None, tried):
        try:
            library = ctypes.CDLL(path)
            break
        except OSError as error:
            problems.append(str(error))
    else:
        raise Error("the library liboutboard-c can't be loaded: " + "; ".join(problems) +
                    ". Build it (./outboard install), or say where it is with OUTBOARD_LIBRARY.")
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, arguments in (
            ("error", text, []), ("version", text, []), ("load", pointer, [text, text, ctypes.c_int]), ("free", None, [pointer]),
            ("device", text, [pointer]), ("context", ctypes.c_int, [pointer]), ("request_init", None, [pointer, ctypes.POINTER(_Request)]),
            ("generate", ctypes.c_int, [pointer, ctypes.POINTER(_Request), _OnText, pointer, ctypes.POINTER(_Result)]),
            ("tokenize", ctypes.c_int64, [pointer, text, size, ctypes.POINTER(ctypes.c_int32), size]),
            ("detokenize", ctypes.c_int64, [pointer, ctypes.POINTER(ctypes.c_int32), size, ctypes.c_char_p, size])):
        function = getattr(library, "outboard_" + name)
        function.restype, function.argtypes = result, arguments
    return library


_library: Optional[ctypes.CDLL] = None


def _outboard() -> ctypes.CDLL:
    global _library
    if _library is None:
        _library = _load()
    return _library


def version() -> str:
    return _outboard().outboard_version().decode()


@dataclass
class Answer:
    text: str
    finish: str  # "stop", "stop_string", "length", "context_full", "cancelled"
    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int
    prompt_seconds: float
    answer_seconds: float


Prompt = Union[str, Sequence[dict], Sequence[int]]


class Model:
    """A model on a device. One question at a time; others wait."""

    def __init__(self, model: Union[str, os.PathLike], device: Optional[str] = None, context: int = 0):
        self._handle = None
        self._lock = threading.Lock()
        self._handle = _outboard().outboard_load(os.fsencode(model), device.encode() if device else None, context)
        if not self._handle:
            raise self._error()

    @staticmethod
    def _error() -> Error:
        return Error(_outboard().outboard_error().decode())

    def _open(self):
        if not self._handle:
            raise Error("the model is closed")
        return self._handle

    def close(self) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
            if handle:
                _outboard().outboard_free(handle)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()

    @property
    def device(self) -> str:
        return _outboard().outboard_device(self._open()).decode()

    @property
    def context(self) -> int:
        return _outboard().outboard_context(self._open())

    def generate(self, prompt: Prompt, *, on_text: Optional[Callable[[str], Optional[bool]]] = None, stop: Sequence[str] = (),
                 json_schema: Optional[str] = None, grammar: Optional[str] = None, **settings) -> Answer:
        """The whole answer to a conversation (a list of {"role", "content"}), or how a text or tokens go on. on_text gets pieces of
        it as it grows; True from it is enough. settings: max_tokens, temperature, top_k, top_p, min_p, repeat_penalty, seed."""
        library = _outboard()
        with self._lock:
            request = _Request()
            library.outboard_request_init(self._open(), ctypes.byref(request))
            if isinstance(prompt, str):
                request.prompt = prompt.encode()
            elif prompt and isinstance(prompt[0], dict):
                request.messages = (_Message * len(prompt))(*((m["role"].encode(), m["content"].encode()) for m in prompt))
                request.message_count = len(prompt)
            else:
                request.tokens = (ctypes.c_int32 * len(prompt))(*prompt)
                request.token_count = len(prompt)
            for name, value in settings.items():
                if name not in ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed"):
                    raise TypeError(f"generate() has no setting {name!r}")
                setattr(request, name, value)
            request.stop = (ctypes.c_char_p * len(stop))(*(word.encode() for word in stop))
            request.stop_count = len(stop)
            request.json_schema = json_schema.encode() if json_schema is not None else None
            request.grammar = grammar.encode() if grammar is not None else None
            pieces: list = []
            raised: list = []

            def hear(text, size, _):
                try:
                    pieces.append(ctypes.string_at(text, size).decode())
                    return 1 if on_text is not None and on_text(pieces[-1]) else 0
                except BaseException as error:  # it must not pass through C
                    raised.append(error)
                    return 1

            result = _Result()
            code = library.outboard_generate(self._handle, ctypes.byref(request), _OnText(hear), None, ctypes.byref(result))
            if raised:
                raise raised[0]
            if code != 0:
                raise self._error()
            return Answer("".join(pieces), result.finish.decode(), result.prompt_tokens, result.cached_tokens, result.answer_tokens,
                          result.prompt_seconds, result.answer_seconds)

    def stream(self, prompt: Prompt, **settings) -> Iterator[str]:
        """Pieces of the answer as it grows; leaving the loop ends it."""
        pieces: queue.Queue = queue.Queue()
        left = threading.Event()

        def hear(text):
            pieces.put(text)
            return left.is_set()

        def run():
            try:
                self.generate(prompt, on_text=hear, **settings)
                pieces.put(None)
            except BaseException as error:
                pieces.put(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            left.set()
            thread.join()

    def tokenize(self, text: str) -> list:
        data = text.encode()
        count = _outboard().outboard_tokenize(self._open(), data, len(data), None, 0)
        if count < 0:
            raise self._error()
        tokens = (ctypes.c_int32 * count)()
        _outboard().outboard_tokenize(self._open(), data, len(data), tokens, count)
        return list(tokens)

    def detokenize(self, tokens: Sequence[int]) -> str:
        given = (ctypes.c_int32 * len(tokens))(*tokens)
        count = _outboard().outboard_detokenize(self._open(), given, len(tokens), None, 0)
        if count < 0:
            raise self._error()
        text = ctypes.create_string_buffer(count + 1)
        _outboard().outboard_detokenize(self._open(), given, len(tokens), text, count)
        return text.raw[:count].decode(errors="replace")
