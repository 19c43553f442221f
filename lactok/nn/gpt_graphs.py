"""Decoding by a `GPT` on a GPU: a step is captured once as a CUDA graph and replayed, without the cost of its launches.

A graph has fixed addresses and shapes. A state is therefore used again by the next captions, and a step reads the cache
up to the next multiple of `LENGTHS` positions; those that are not there yet have no weight.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lactok.nn.gpt import GPT
from lactok.nn.gpt_decoding import CAPTION, Decoder, Prefix, State

LENGTHS = 64
STATES = 3  # numbers of rows whose states and graphs are kept: a batch, its guided half, the last batch of a list
WARM_UP = 2  # steps before a capture; a step that is done again changes nothing


def decoder_of(model: GPT) -> Decoder:
    """Return the decoder for the device of a network."""
    return GraphDecoder(model) if model.tok_embeddings.weight.device.type == "cuda" else Decoder(model)


class GraphDecoder(Decoder):
    """Chooses ids by a `GPT` on a GPU; the numbers are those of `Decoder`."""

    def __init__(self, model: GPT):
        super().__init__(model)
        self._states: dict[int, State] = {}
        self._graphs: dict[tuple[int, int], Callable[[], Tensor]] = {}

    def compile(self, backend: str = "inductor") -> None:
        super().compile(backend)
        self._graphs.clear()

    def _state(self, prefix: Prefix) -> State:
        rows = len(prefix.last)
        state = self._states.pop(rows, None)
        if state is None:
            while len(self._states) >= STATES:
                oldest = next(iter(self._states))
                del self._states[oldest]
                self._graphs = {key: graph for key, graph in self._graphs.items() if key[0] != oldest}
            state = super()._state(prefix)
        else:
            state.begin(prefix)
        self._states[rows] = state  # the last one is the newest
        return state

    def _run(self, state: State, number: int) -> Tensor:
        rows, length = len(state.ids), state.bias.shape[-1]
        end = length_read(CAPTION + number, length)
        if (rows, end) not in self._graphs:
            self._graphs[rows, end] = self._captured(state, end)
        return self._graphs[rows, end]()

    def _captured(self, state: State, end: int) -> Callable[[], Tensor]:
        """Return the function that does a step which reads `end` positions, and returns its logits."""
        aside = torch.cuda.Stream(state.ids.device)
        aside.wait_stream(torch.cuda.current_stream(state.ids.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._step(state, end)
        torch.cuda.current_stream(state.ids.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # on the stream of the state's own device: torch's default is of the first device that captured anything.
        # Another thread may make images of earlier ids meanwhile
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            logits = self._step(state, end)

        def replay() -> Tensor:
            graph.replay()
            return logits.clone()  # the next step writes over them

        return replay


def length_read(needed: int, length: int) -> int:
    """Return how many positions a step reads of a cache of `length`, at least those that it needs.

    >>> [length_read(needed, 258) for needed in (3, 64, 65, 250)]
    [64, 64, 128, 256]
    """
    return min(-(-needed // LENGTHS) * LENGTHS, length)
