# SPDX-License-Identifier: Apache-2.0
"""programs/torch_infer.c by Accelerate's recipe for inference on several processes, each of which has
the model: torch_infer.py FOLDER BATCH load|assign [MARK]. The weights are copied into the module's, or
assigned, which leaves them in the mapped file. And as a program without a launcher, what all read:

    torch_infer.py write FOLDER WIDTH LAYERS VOCABULARY CONTEXT INPUTS"""
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import _gpt
from _round import Turns


class Scores(_gpt.GPT):
    """Of what may come next."""

    def forward(self, tokens):
        x = self.token(tokens) + self.position.weight
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x[:, -1]), self.token.weight)


def write(folder, width, layers, vocabulary, context, inputs):
    torch.manual_seed(1)
    net = Scores(width, layers, vocabulary, context)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    torch.jit.script(net.eval()).save(f"{folder}/scores.pt")
    save_file(net.state_dict(), f"{folder}/scores.safetensors")
    save_file({"tokens": torch.randint(vocabulary, (inputs, context))}, f"{folder}/inputs.safetensors")


def load(path, assign):
    weights = load_file(path)
    vocabulary, width = weights["token.weight"].shape
    layers = sum(name.endswith(".qkv.weight") for name in weights)
    with torch.device("meta" if assign else "cpu"):
        net = Scores(width, layers, vocabulary, len(weights["position.weight"]))
    net.load_state_dict(weights, assign=assign)
    return net.eval()


def main(folder, batch, way, mark=None):
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState(cpu=True)
    torch.set_num_threads(1)
    net = load(f"{folder}/scores.safetensors", way == "assign")
    tokens = load_file(f"{folder}/inputs.safetensors")["tokens"]

    @torch.inference_mode()
    def infer():
        answers = []
        with state.split_between_processes(tokens) as part:
            for inputs in part.split(int(batch)):
                answers += net(inputs).argmax(1).tolist()
        return gather_object(answers)

    def take_turns():
        turns = Turns(state.process_index)
        for _ in turns:
            state.wait_for_everyone()
            start = time.monotonic()
            answers = infer()
            turns.sample(time.monotonic() - start)
            if state.is_main_process:
                with open("answers", "w") as file:
                    print(*answers, sep="\n", file=file)

    if mark:
        tokens = tokens[:state.num_processes]
        infer()
        done = time.monotonic()
        if state.is_main_process:
            with open(mark, "w") as file:
                print(f"{done:.9f} {state.num_processes}", file=file)
    else:
        take_turns()
    state.destroy_process_group()


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], *(int(word) for word in sys.argv[3:]))
    else:
        main(*sys.argv[1:])
