// One model divided over the processes of a job, with two pictures of each process on their way at once.
//   diffract launch --nproc-per-node 2 split_over_ranks        (or torchrun --no-python, mpirun -n 2, srun -n
//   2)
// Usage: split_over_ranks [MODEL [STEPS]]
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "diffract/diffract.h"
#include "examples/usage.h"

using namespace diffract;

void run(const std::string& model, std::optional<int64_t> steps) {
  const PartialState state;
  // Each process loads its part alone. Budgets would say how much: .max_memory = {{"rank:0", "8GB"}, ...}
  const auto pipeline = DiffusionPipeline::from_pretrained(model, {.device_map = "ranks"});
  if (state.is_main_process()) fmt::print("{}\n", pipeline.hf_device_map().to_text());

  const std::vector<std::string> prompts = {"a dog", "a cat", "a fox", "an owl"};
  // All processes run this; while one computes its part of a picture, the others compute theirs of another.
  run_in_flight(prompts.size(), 2 * state.num_processes(), [&](size_t i) {
    const auto result = pipeline({.prompt = {prompts[i]}, .num_inference_steps = steps, .seed = i});
    if (state.is_main_process()) result.images[0].save(fmt::format("result_{}.png", i));
  });
}

int main(int argc, char** argv) {
  if (asks_for_help(argc, argv, "split_over_ranks [MODEL [STEPS]]")) return 0;
  try {
    run(argc > 1 ? argv[1] : "emoji-flux", argc > 2 ? std::optional(std::atoll(argv[2])) : std::nullopt);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
