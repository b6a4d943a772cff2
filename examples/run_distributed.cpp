// Prompts split between processes: the first program of diffusers' guide on distributed inference.
//   diffract launch --nproc-per-node 2 run_distributed            (or torchrun --no-python, mpirun -n 2, srun
//   -n 2)
// Usage: run_distributed [MODEL [STEPS]]
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "diffract/diffract.h"
#include "examples/usage.h"

using namespace diffract;

void run(const std::string& model, std::optional<int64_t> steps) {
  const PartialState distributed_state;
  // As pipeline.to(distributed_state.device()), but the weights go there as they are read.
  const auto pipeline = DiffusionPipeline::from_pretrained(
      model, {.torch_dtype = at::kHalf, .device = distributed_state.device()});
  const auto prompt = distributed_state.split_between_processes({"a dog", "a cat"});
  // The guide draws unseeded noise. Split along with the prompts, a picture's seed is its own in any number
  // of processes.
  const auto seeds = distributed_state.split_between_processes(std::vector<uint64_t>{0, 1});
  if (prompt.empty()) return;  // more processes than prompts: nothing to do
  const auto result = pipeline({.prompt = prompt, .num_inference_steps = steps, .seeds = seeds}).images;
  // The guide saves only the first picture of each process.
  for (size_t i = 0; i < result.size(); ++i)
    result[i].save(i == 0 ? fmt::format("result_{}.png", distributed_state.process_index())
                          : fmt::format("result_{}_{}.png", distributed_state.process_index(), i));
}

int main(int argc, char** argv) {
  if (asks_for_help(argc, argv, "run_distributed [MODEL [STEPS]]")) return 0;
  try {
    run(argc > 1 ? argv[1] : "emoji-sd", argc > 2 ? std::optional(std::atoll(argv[2])) : std::nullopt);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
