// A process group: the second program of diffusers' guide on distributed inference. By itself it spawns its
// two processes; under a launcher, which has started them already, it does not.
//   run_distributed_torch
//   diffract launch --nproc-per-node 2 run_distributed_torch      (or torchrun --no-python, mpirun -n 2, srun
//   -n 2)
// Usage: run_distributed_torch [MODEL [STEPS]]
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "diffract/diffract.h"
#include "examples/usage.h"

using namespace diffract;

struct Settings {
  std::string model;
  std::optional<int64_t> steps;
};

void run_inference(int rank, int world_size, const Settings& settings) {
  init_process_group("", rank, world_size);  // "nccl" on GPUs, "gloo" on CPUs
  const auto sd = DiffusionPipeline::from_pretrained(
      settings.model, {.torch_dtype = at::kHalf, .device = PartialState().device()});
  std::string prompt;
  if (get_rank() == 0)
    prompt = "a dog";
  else if (get_rank() == 1)
    prompt = "a cat";
  else
    return;  // in the guide, a third process has no prompt and fails
  const auto image = sd({.prompt = {prompt},
                         .num_inference_steps = settings.steps,
                         .seed = static_cast<uint64_t>(get_rank())})
                         .images[0];
  std::replace(prompt.begin(), prompt.end(), ' ', '_');  // the guide's join puts a _ between the letters
  image.save("./" + prompt + ".png");
}

void run(const Settings& settings) {
  const auto launched = detect_environment(current_variables());
  if (launched.world_size > 1) {
    run_inference(launched.rank, launched.world_size, settings);
  } else {
    const int world_size = 2;
    spawn([&](int rank) { run_inference(rank, world_size, settings); }, /*nprocs=*/world_size, /*join=*/true);
  }
}

int main(int argc, char** argv) {
  if (asks_for_help(argc, argv, "run_distributed_torch [MODEL [STEPS]]")) return 0;
  try {
    run({.model = argc > 1 ? argv[1] : "emoji-sd",
         .steps = argc > 2 ? std::optional(std::atoll(argv[2])) : std::nullopt});
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
