#include <fmt/format.h>

#include "diffract/launch/option_table.h"
#include "diffract/launch/options.h"

namespace diffract::launch {

std::string help_text() {
  std::string text =
      "diffract launch [OPTIONS] PROGRAM|generate [ARGUMENTS]\n\n"
      "Starts PROGRAM once for each process of a distributed job, watches them, and stops them together.\n"
      "\"generate\" is diffract's own; a name that ends in .py is run with python. Options are torchrun's, "
      "with\n"
      "accelerate's names beside them; \"-\" and \"_\" are the same, and PET_NNODES and its like set what is "
      "not given.\n\n";
  for (const OptionSpec& spec : option_table()) {
    if (spec.without_effect) continue;
    const std::string letter = spec.letter ? fmt::format("-{}, ", spec.letter) : "";
    const std::string left = fmt::format("{}--{} {}", letter, spec.name, spec.value);
    text += left.size() < 36 ? fmt::format("  {:<36}{}\n", left, spec.help)
                             : fmt::format("  {}\n{:38}{}\n", left, "", spec.help);
  }
  text += "\nTaken for torchrun's and accelerate's sake, without an effect here:\n";
  for (const OptionSpec& spec : option_table())
    if (spec.without_effect) text += fmt::format("  {:<36}{}\n", fmt::format("--{}", spec.name), spec.help);
  return text +
         "\nThe exit code is the first failing process's (128 + n for signal n), 5 for one that hangs or a "
         "lost\n"
         "machine. No process outlives the launcher.\n\n"
         "Examples:\n"
         "  diffract launch --nproc-per-node 2 generate --prompt \"a dog\" --prompt \"a cat\"\n"
         "  diffract launch --nproc-per-node auto --max-restarts 3 ./my_program --its-option\n"
         "  # two machines; run the same on the other with --node-rank 1\n"
         "  diffract launch --nnodes 2 --node-rank 0 --master-addr 10.0.0.1 --nproc-per-node 2 generate "
         "--prompt \"a dog\"\n"
         "  # two to four machines, the same line on each; goes on when one is lost\n"
         "  diffract launch --nnodes 2:4 --rdzv-backend c10d --rdzv-endpoint node1:29400 generate "
         "--prompts-file p.txt\n";
}

}  // namespace diffract::launch
