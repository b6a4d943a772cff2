// A step of a FLUX transformer whose weights are larger than the memory they may take:
//   offload MODEL MAX_MEMORY [HEIGHT WIDTH]      e.g. offload /tmp/flux-dev cpu=6GB 256 256
// Prints what a step takes, what its computing alone would (the same step from memory, with one block's
// weights for all of its kind), what its reading alone would (its bytes at the disk's rate just before and
// after), and how far the step is from the larger of the two. bench/offload.py runs it under a limit.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/families/flux/flux.h"
#include "diffract/families/flux/flux_latents.h"
#include "diffract/io/model_folder.h"
#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/part_reader.h"

namespace {

using namespace diffract;
using models::FluxTransformer2DConfig;
using models::FluxTransformer2DModel;
using Clock = std::chrono::steady_clock;

constexpr int64_t kTextTokens = 512;
constexpr int64_t kTokenPixels = 16;  // each way
// Rounds of computing alone, reading alone, steps, and reading alone again: the rate of a shared disk changes
// by a fifth within a minute, so each round's steps are held against the rates around them.
constexpr int kRounds = 5, kStepsMeasured = 3;
constexpr uint64_t kReadAlone = 7'000'000'000;  // each time

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

families::FluxPipeline load(const std::string& model, const placement::MaxMemory& max_memory,
                            const Picture& picture) {
  return families::FluxPipeline::from_pretrained(
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
}

// The steps between the first, which also fills what is empty at the start, and the last.
std::vector<Step> measure_steps(const families::FluxPipeline& pipeline, const Picture& picture) {
  struct Mark {
    Clock::time_point when;
    weights::StreamStatistics read;
  };
  std::vector<Mark> marks;
  pipeline({.num_inference_steps = kStepsMeasured + 2,
            .height = picture.height,
            .width = picture.width,
            .output_type = pipelines::OutputType::latent,
            .prompt_embeds = at::randn({1, kTextTokens, 4096}),
            .pooled_prompt_embeds = at::randn({1, 768})},
           [&](const pipelines::StepReport&) {
             marks.push_back({Clock::now(), weights::stream_statistics()});
           });
  weights::release_streams();  // what comes next in the disk's queue is the reading alone
  std::vector<Step> steps;
  for (size_t i = 1; i <= kStepsMeasured; ++i)
    steps.push_back({.seconds = std::chrono::duration<double>(marks[i].when - marks[i - 1].when).count(),
                     .waiting_seconds = marks[i].read.seconds_waiting - marks[i - 1].read.seconds_waiting,
                     .bytes_read = marks[i].read.bytes_read - marks[i - 1].read.bytes_read});
  return steps;
}

// "transformer_blocks.0.attn.to_q.weight" of "transformer_blocks.3.attn.to_q.weight".
std::string in_first_block(const std::string& tensor) {
  static const std::regex number(R"((transformer_blocks\.)\d+)");
  return std::regex_replace(tensor, number, "$010");
}

// Of a whole step from memory, with the weights of each kind's first block for all blocks of that kind: the
// others do not fit there, and these are larger than a processor's caches.
double compute_seconds(const io::ModelFolder& folder, const Picture& picture) {
  const auto files = weights::Checkpoint::open(folder.component_weights("transformer", ""));
  const auto checkpoint = weights::made_source(
      [files](const std::string& name, at::IntArrayRef shape) {
        return files->stored(in_first_block(name), shape).view;
      },
      [files](const std::string& name) { return files->has(in_first_block(name)); });
  const auto config = FluxTransformer2DConfig::from_json(folder.config("transformer"));
  const tensor::DtypePolicy policy = tensor::DtypePolicy::choose(at::kBFloat16, {}, at::kCPU);
  const FluxTransformer2DModel model(config, weights::WeightScope(checkpoint, policy));
  const at::Tensor text_ids = at::zeros({kTextTokens, 3});
  const FluxTransformer2DModel::Conditioning cond{
      .prompt_embeds = at::randn({1, kTextTokens, config.joint_attention_dim}),
      .pooled_prompt_embeds = at::randn({1, config.pooled_projection_dim}),
      .rope = model.rotary(text_ids, families::latent_image_ids(picture.rows(), picture.columns())),
      .guidance = config.guidance_embeds ? at::full({1}, 3.5) : at::Tensor()};
  const at::Tensor latents = at::randn({1, picture.rows() * picture.columns(), config.in_channels});
  const auto modulation = model.modulations(at::full({1, 1}, 0.5), cond).front();
  double best = 1e9;
  for (int run = 0; run < 3; ++run) {  // the first one reads the weights
    const auto begin = Clock::now();
    model(latents, modulation, cond);
    best = std::min(best, seconds_since(begin));
  }
  return best;
}

// "transformer_blocks.3" of "transformer_blocks.3.attn.to_q.weight".
std::string block_of(const std::string& tensor) {
  return tensor.substr(0, tensor.find('.', tensor.find('.') + 1));
}

// The blocks of the checkpoint as a stream reads them, those of the last file first, up to `bytes` in all.
std::vector<weights::Part> parts_of(const io::ModelFolder& folder, uint64_t bytes) {
  const auto files = folder.component_weights("transformer", "");
  const auto checkpoint = weights::Checkpoint::open(files);
  std::vector<weights::Part> parts;
  uint64_t total = 0;
  for (auto file = files.files.rbegin(); file != files.files.rend() && total < bytes; ++file) {
    const auto opened = io::SafetensorsFile::open(*file);
    for (const auto& info : opened->tensors()) {
      const std::string block = block_of(info.name);
      if (parts.empty() || parts.back().name != block) {
        if (total >= bytes) break;
        parts.emplace_back().name = block;
      }
      parts.back().add({.module_name = info.name,
                        .name = info.name,
                        .stored = checkpoint->stored(
                            info.name, std::vector<int64_t>(info.shape.begin(), info.shape.end())),
                        .storage = {},
                        .dtype = at::kBFloat16});
      total += parts.back().tensors.back().bytes();
    }
  }
  for (weights::Part& part : parts) part.lie_as_in_files();
  return parts;
}

// Bytes a second as a stream reads them, with nothing beside it.
double read_rate(const std::vector<weights::Part>& parts) {
  uint64_t total = 0, largest = 0;
  for (const weights::Part& part : parts) largest = std::max(largest, part.bytes);
  const at::Tensor memory = weights::page_aligned(largest);
  weights::PartReader reader(at::kCPU, nullptr);
  const auto begin = Clock::now();
  for (const weights::Part& part : parts) {
    reader.read(part, {memory});
    total += part.bytes;
  }
  return static_cast<double>(total) / seconds_since(begin);
}

// Steps and reading alone are both from the disk: what measuring the computing left in the page cache goes.
void forget_cached(const io::ModelFolder& folder) {
  for (const auto& file : folder.component_weights("transformer", "").files) {
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) continue;
    ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    ::close(descriptor);
  }
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void run(const std::string& path, const placement::MaxMemory& max_memory, const Picture& picture) {
  tensor::keep_host_memory();
  const c10::InferenceMode no_autograd;
  const auto folder = io::ModelFolder::open(path);
  const auto pipeline = load(path, max_memory, picture);
  std::fprintf(stderr, "%s\n", pipeline.hf_device_map().to_text().c_str());
  const auto parts = parts_of(folder, kReadAlone);
  std::vector<double> steps, waits, computings, readings, ratios;
  uint64_t bytes = 0;
  for (int round = 0; round < kRounds; ++round) {
    computings.push_back(compute_seconds(folder, picture));
    forget_cached(folder);
    const double rate_before = read_rate(parts);
    std::vector<double> here;
    uint64_t read = 0;
    for (const Step& step : measure_steps(pipeline, picture)) {
      read += step.bytes_read;
      here.push_back(step.seconds);
      steps.push_back(step.seconds);
      waits.push_back(step.waiting_seconds);
    }
    bytes = read / kStepsMeasured;  // a block may come just before its step's mark or after it
    const double rate = (rate_before + read_rate(parts)) / 2;
    readings.push_back(static_cast<double>(bytes) / rate);
    ratios.push_back(median(here) / std::max(computings.back(), readings.back()));
    std::fprintf(
        stderr,
        "round %d: step %.2f s, computing alone %.2f s, reading alone %.2f s: %.3f times the larger\n",
        round + 1, median(here), computings.back(), readings.back(), ratios.back());
  }
  const double step = median(steps), compute = median(computings), reading = median(readings);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const Json result = {{"step_seconds", step},
                       {"waiting_seconds", median(waits)},
                       {"compute_seconds", compute},
                       {"bytes_read", bytes},
                       {"disk_bytes_a_second", static_cast<double>(bytes) / reading},
                       {"read_seconds", reading},
                       {"step_over_bound", median(ratios)},
                       {"all_step_over_bound", ratios},
                       {"all_step_seconds", steps},
                       {"all_compute_seconds", computings},
                       {"all_read_seconds", readings},
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
