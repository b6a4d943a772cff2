// A step of a FLUX transformer whose weights are larger than the memory they may take:
//   offload MODEL MAX_MEMORY [HEIGHT WIDTH]      e.g. offload /tmp/flux-dev cpu=6GB 256 256
// Prints what a step takes, what its computing alone would (blocks that stay in memory, one of each kind,
// times their number), what its reading alone would (its bytes at the disk's rate), and how far the step is
// from the larger of the two. bench/offload.py runs it under a limit.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/io/model_folder.h"
#include "diffract/models/flux_transformer_2d_model.h"
#include "diffract/pipelines/flux.h"
#include "diffract/pipelines/flux_latents.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/weights/part_reader.h"

namespace {

using namespace diffract;
using models::FluxTransformer2DConfig;
using models::FluxTransformer2DModel;
using Clock = std::chrono::steady_clock;

constexpr int64_t kTextTokens = 512;
constexpr int64_t kTokenPixels = 16;  // each way

struct Picture {
  int64_t height, width;
  int64_t rows() const { return height / kTokenPixels; }
  int64_t columns() const { return width / kTokenPixels; }
};

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Step {
  double seconds, waiting_seconds;
  uint64_t bytes_read;
};

// The second of three steps: the first one also fills what is empty at the start.
Step measure_step(const std::string& model, const placement::MaxMemory& max_memory, const Picture& picture) {
  const auto pipeline = pipelines::FluxPipeline::from_pretrained(
      model,
      {.tokenizer = nullptr,
       .tokenizer_2 = nullptr,
       .text_encoder = nullptr,
       .text_encoder_2 = nullptr,
       .vae = nullptr},
      {.torch_dtype = at::kBFloat16,
       .device_map = "auto",
       .max_memory = max_memory,
       .expected = {.height = picture.height, .width = picture.width}});
  std::fprintf(stderr, "%s\n", pipeline.hf_device_map().to_text().c_str());
  struct Mark {
    Clock::time_point when;
    weights::StreamStatistics read;
  };
  std::vector<Mark> marks;
  pipeline({.num_inference_steps = 3,
            .height = picture.height,
            .width = picture.width,
            .output_type = pipelines::OutputType::latent,
            .prompt_embeds = at::randn({1, kTextTokens, 4096}),
            .pooled_prompt_embeds = at::randn({1, 768})},
           [&](const pipelines::StepReport&) {
             marks.push_back({Clock::now(), weights::stream_statistics()});
           });
  return {.seconds = std::chrono::duration<double>(marks[1].when - marks[0].when).count(),
          .waiting_seconds = marks[1].read.seconds_waiting - marks[0].read.seconds_waiting,
          .bytes_read = marks[1].read.bytes_read - marks[0].read.bytes_read};
}

// Of a step of the first blocks alone, in memory: the faster of two runs.
double compute_seconds(const io::ModelFolder& folder, FluxTransformer2DConfig config, int64_t layers,
                       int64_t singles, const Picture& picture) {
  config.num_layers = layers;
  config.num_single_layers = singles;
  const auto checkpoint = weights::Checkpoint::open(folder.component_weights("transformer", ""));
  const tensor::DtypePolicy policy = tensor::DtypePolicy::choose(at::kBFloat16, {}, at::kCPU);
  const FluxTransformer2DModel model(config, weights::WeightScope(checkpoint, policy));
  const at::Tensor text_ids = at::zeros({kTextTokens, 3});
  const FluxTransformer2DModel::Conditioning cond{
      .prompt_embeds = at::randn({1, kTextTokens, config.joint_attention_dim}),
      .pooled_prompt_embeds = at::randn({1, config.pooled_projection_dim}),
      .rope = model.rotary(text_ids, pipelines::latent_image_ids(picture.rows(), picture.columns())),
      .guidance = config.guidance_embeds ? at::full({1}, 3.5) : at::Tensor()};
  const at::Tensor latents = at::randn({1, picture.rows() * picture.columns(), config.in_channels});
  double best = 1e9;
  for (int run = 0; run < 6; ++run) {  // the first one reads the weights
    const auto begin = Clock::now();
    model(latents, at::full({1}, 0.5), cond);
    best = std::min(best, seconds_since(begin));
  }
  return best;
}

// Seconds of reading `bytes` of the checkpoint as a stream does, with nothing beside it: the faster of two
// readings of as much as the step reads, since shared disks are not the same from second to second.
double reading_seconds(const io::ModelFolder& folder, uint64_t bytes) {
  const auto files = folder.component_weights("transformer", "");
  const auto checkpoint = weights::Checkpoint::open(files);
  weights::PartReader reader(at::kCPU, nullptr);
  at::Tensor memory;
  const auto once = [&] {
    uint64_t total = 0;
    const auto begin = Clock::now();
    for (auto file = files.files.rbegin(); file != files.files.rend(); ++file) {
      const auto opened = io::SafetensorsFile::open(*file);
      for (const auto& info : opened->tensors()) {
        if (total >= bytes)
          return seconds_since(begin) * static_cast<double>(bytes) / static_cast<double>(total);
        weights::Part part;
        const std::vector<int64_t> shape(info.shape.begin(), info.shape.end());
        part.add({.module_name = info.name,
                  .name = info.name,
                  .stored = checkpoint->stored(info.name, shape),
                  .storage = {},
                  .dtype = at::kBFloat16});
        part.lie_as_in_files();
        if (!memory.defined() || memory.numel() < static_cast<int64_t>(part.bytes))
          memory = weights::page_aligned(part.bytes);
        reader.read(part, memory);
        total += part.bytes;
      }
    }
    return seconds_since(begin) * static_cast<double>(bytes) / static_cast<double>(total);
  };
  return std::min(once(), once());
}

void run(const std::string& path, const placement::MaxMemory& max_memory, const Picture& picture) {
  tensor::keep_host_memory();
  const c10::InferenceMode no_autograd;
  const auto folder = io::ModelFolder::open(path);
  const auto config = FluxTransformer2DConfig::from_json(folder.config("transformer"));
  const double both = compute_seconds(folder, config, 1, 1, picture);
  const double layer = compute_seconds(folder, config, 2, 1, picture) - both;
  const double single = compute_seconds(folder, config, 1, 2, picture) - both;
  const double compute = both + layer * static_cast<double>(config.num_layers - 1) +
                         single * static_cast<double>(config.num_single_layers - 1);
  const Step step = measure_step(path, max_memory, picture);
  const double reading = reading_seconds(folder, step.bytes_read);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const Json result = {{"step_seconds", step.seconds},
                       {"waiting_seconds", step.waiting_seconds},
                       {"compute_seconds", compute},
                       {"bytes_read", step.bytes_read},
                       {"disk_bytes_a_second", static_cast<double>(step.bytes_read) / reading},
                       {"read_seconds", reading},
                       {"step_over_bound", step.seconds / std::max(compute, reading)},
                       {"peak_rss_bytes", static_cast<uint64_t>(usage.ru_maxrss) * 1024}};
  std::printf("%s\n", result.dump(2).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL MAX_MEMORY [HEIGHT WIDTH]\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], placement::MaxMemory::parse(argv[2]),
        {argc > 3 ? std::atoll(argv[3]) : 256, argc > 4 ? std::atoll(argv[4]) : 256});
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
