#include "diffract/cli/generate_options.h"

#include <fmt/format.h>

#include <iterator>

#include "diffract/cli/prompts_file.h"
#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/core/utf8.h"
#include "diffract/pipelines/model_placements.h"

namespace diffract::cli {
namespace {

// The words behind the first, which given_prompts refuses in its own words. Not by CLI11's allow_extra_args:
// that gives brackets a meaning, and "[a dog]" would be drawn as "a dog".
void keep_extra_words(CLI::App& app, std::vector<std::string>& words) {
  app.allow_extras();
  app.parse_complete_callback([&app, &words] {
    auto extra = app.remaining();
    std::erase(extra, "--");  // CLI11 leaves it there
    // Such as "-.5", which is no option's name and no prompt.
    if (words.empty() && !extra.empty()) throw CLI::ExtrasError(app.get_name(), extra);
    words.insert(words.end(), extra.begin(), extra.end());
  });
}

}  // namespace

void declare_generate_options(CLI::App& app, GenerateOptions& o) {
  auto& s = o.settings;
  add_texts(app, "PROMPT", o.words, "What to draw: one prompt, in quotes. For several: --prompt");
  keep_extra_words(app, o.words);
  add_path(app, "-m,--model", o.model,
           "Folder, ORG/NAME[@REV] in the Hugging Face cache, or a built-in model");
  add_texts(app, "-p,--prompt", o.prompts, "What to draw; may be given several times");
  add_path(app, "--prompts-file", o.prompts_file,
           "Prompts, one a line, or in JSON with options of their own (docs/jobs.md); -: standard input");
  app.add_option("--prompts-format", o.prompts_format,
                 "text, jsonl (JSON lines) or json (a list); default: by the file's name and content")
      ->check(CLI::IsMember({"text", "jsonl", "json"}));
  add_texts(app, "-n,--negative-prompt", o.negative_prompts,
            "What not to draw: once for all prompts, or once each");
  add_texts(app, "--prompt-2", o.prompts_2, "For a model's second text encoder: once for all, or once each");
  add_optional(app, "--num-inference-steps,--steps", s.num_inference_steps, "Denoising steps");
  add_optional(app, "--guidance-scale", s.guidance_scale,
               "How closely to follow the prompt; 1 and below: no guidance");
  add_optional(app, "--true-cfg-scale", s.true_cfg_scale,
               "Guidance with a negative prompt in guidance-distilled models");
  add_optional(app, "--guidance-rescale", s.guidance_rescale,
               "0 to 1: against burnt pictures at high guidance");
  add_optional(app, "-H,--height", s.height, "Pixels, a multiple of 8; FLUX rounds down to one of 16");
  add_optional(app, "-W,--width", s.width, "Pixels, a multiple of 8; FLUX rounds down to one of 16");
  add_optional(app, "--clip-skip", s.clip_skip, "Layers of the CLIP text encoder to leave out at its end");
  add_optional(app, "--max-sequence-length", s.max_sequence_length, "Tokens of the T5 prompt");
  app.add_option("--eta", s.eta, "DDIM's share of fresh noise, 0 to 1")->capture_default_str();
  add_seed(app, "-s,--seed", o.seed, "Picture i uses seed + i; random draws one and says it; default: 0");
  app.add_option("--num-images-per-prompt", s.num_images_per_prompt, "Pictures of each prompt")
      ->capture_default_str();
  app.add_option("--batch-size", o.batch_size, "Pictures computed together")->capture_default_str();
  app.add_option("--scheduler", o.scheduler, "Class, e.g. EulerDiscreteScheduler; default: the checkpoint's");
  app.add_option("--scheduler-config", o.scheduler_config,
                 "JSON object of keys to change, e.g. '{\"use_karras_sigmas\": true}'");
  add_dtype(app, "--dtype", o.dtype,
            "What weights are kept in: float32, float16, bfloat16; default: as stored");
  add_dtype(app, "--compute-dtype", o.compute_dtype,
            "What arithmetic is done in; default: --dtype where the device does it fast, else float32");
  add_dtype(
      app, "--noise-dtype", o.noise_dtype,
      "What the noise is drawn in; default: float32, the same picture for every --dtype. diffusers draws in "
      "its torch_dtype, which gives other pictures");
  app.add_flag("--float8", o.float8,
               "FLUX on a GPU: large products in float8, faster and less exact; with --dtype bfloat16");
  app.add_flag("--allow-tf32", o.allow_tf32,
               "float32 on a GPU: products and convolutions of TF32's 10 bits, faster and less exact");
  app.add_option("--variant", o.variant, "Weight files' variant, e.g. fp16");
  app.add_option("--device", o.device, "cpu, cuda (in a job: each process its own) or cuda:N")
      ->capture_default_str();
  add_path(
      app, "--device-map", o.device_map,
      "Spread the models over devices, CPU memory and disk: auto, balanced, balanced_low_0, sequential, "
      "a device, or FILE.json with a map; over the processes of a job: ranks, or a map that names rank:0, "
      "rank:1, ...");
  app.add_option(
      "--max-memory", o.max_memory,
      "Budgets, e.g. 0=16GB,1=16GB,cpu=30GB: of an accelerator a hard limit; of the CPU for weights and "
      "what computing takes, beside the program's own 0.2 GB. Or of processes: "
      "rank:0=16GB,rank:1=8GB");
  app.add_flag("--no-memory-check", o.no_memory_check,
               "Try pictures that take more memory than is free, too: they may end this process or others");
  app.add_option("--in-flight", o.in_flight,
                 "Batches on their way at once where processes share the models; default: two a process");
  app.add_option("--peer-timeout", o.peer_timeout,
                 "Seconds to wait for another process that shares the models; default: 300");
  add_path(app, "--offload-folder", o.offload_folder,
           "For weights that stay on disk and are used in another dtype than their files have");
  app.add_option("--threads", o.threads, "Threads of a CPU; default: all cores");
  app.add_option("--output-type", o.output_type, "png, or latent: one safetensors file")
      ->check(CLI::IsMember({"png", "latent"}))
      ->capture_default_str();
  add_path(app, "-o,--output", o.output,
           "Pattern with {index}, {prompt}, {seed}, {rank} that ends in .png, of latents in .safetensors; "
           "default: image_{index}.png");
  add_path(app, "--save-steps", o.save_steps, "FILE.safetensors of the latents after each step");
  app.add_option("--schedule", o.schedule,
                 "How a job's batches go to its processes: dynamic (to who is free) or static (equal shares)")
      ->check(CLI::IsMember({"static", "dynamic"}))
      ->capture_default_str();
  app.add_flag("--resume", o.resume,
               "Leave out pictures that are there already, made with the same parameters");
  app.add_flag("--json", o.json, "One JSON object on stdout");
  app.footer(
      "Example:\n  diffract generate \"a dog\"\n  diffract generate --prompt \"a dog\" --prompt \"a cat\" "
      "--steps 25 --seed 7 --output "
      "\"{prompt}.png\"\nTwo processes with half of the models each:\n  diffract launch --num_processes=2 "
      "generate "
      "--device_map=ranks --prompt \"a dog\" --prompt \"a cat\"");
}

namespace {

// Several words are a prompt whose quotes were forgotten, and "--resume yes" leaves a word as well.
std::vector<std::string> given_prompts(const GenerateOptions& o) {
  if (o.words.empty()) return o.prompts;
  if (o.words.size() == 1 && o.prompts.empty() && o.prompts_file.empty()) return o.words;
  throw UsageError(
      "\"{}\" stands alone: a prompt of several words needs quotes, and of several prompts each needs "
      "--prompt",
      o.words.front());
}

}  // namespace

std::vector<pipelines::JobEntry> job_entries(const GenerateOptions& o) {
  std::vector<pipelines::JobEntry> entries;
  if (const auto prompts = given_prompts(o); !prompts.empty()) {
    pipelines::JobEntry entry{.request = o.settings};
    entry.request.prompt = prompts;
    entry.request.prompt_2 = o.prompts_2;
    entry.request.negative_prompt = o.negative_prompts;
    entries.push_back(std::move(entry));
  }
  if (!o.prompts_file.empty()) {
    if (o.prompts_2.size() > 1 || o.negative_prompts.size() > 1)
      throw UsageError(
          "--prompts-file: give --negative-prompt and --prompt-2 at most once, or in the file's lines; "
          "several, one for each --prompt, leave none for the file's prompts");
    pipelines::Request shared = o.settings;
    if (o.prompts_2.size() == 1) shared.prompt_2 = o.prompts_2;
    if (o.negative_prompts.size() == 1) shared.negative_prompt = o.negative_prompts;
    auto of_file = load_prompts(o.prompts_file, o.prompts_format, shared);
    entries.insert(entries.end(), std::make_move_iterator(of_file.begin()),
                   std::make_move_iterator(of_file.end()));
  }
  if (entries.empty())
    throw UsageError("no prompts: give a prompt in quotes, --prompt \"a dog\", or --prompts-file FILE");
  for (auto& entry : entries) {
    entry.request.output_type = o.latent() ? pipelines::OutputType::latent : pipelines::OutputType::image;
    if (!o.noise_dtype.empty()) entry.request.noise_dtype = tensor::parse_dtype(o.noise_dtype);
  }
  return entries;
}

void warn_of_prompt_syntax(const std::vector<pipelines::JobBatch>& batches) {
  for (const auto& batch : batches)
    for (const auto& image : batch.images)
      for (const char* tag : {"<lora:", "<lyco:", "<hypernet:"})
        if (const size_t at = image.prompt.find(tag); at != std::string::npos)
          log::write_once(
              log::Level::warning,
              fmt::format("{} in a prompt is drawn as text; LoRA is not there yet: see "
                          "docs/differences.md",
                          shortened(image.prompt.substr(at, image.prompt.find('>', at) - at), 60) + ">"));
}

bool is_over_ranks(const GenerateOptions& o) {
  return pipelines::asks_for_ranks(o.device_map, o.max_memory.empty()
                                                     ? placement::MaxMemory()
                                                     : placement::MaxMemory::parse(o.max_memory));
}

pipelines::LoadOptions load_options(const GenerateOptions& o, int local_rank) {
  pipelines::LoadOptions load{.variant = o.variant, .device = tensor::parse_device(o.device, local_rank)};
  if (!o.device_map.empty()) load.device_map = o.device_map;
  if (!o.max_memory.empty()) load.max_memory = placement::MaxMemory::parse(o.max_memory);
  load.offload_folder = o.offload_folder;
  load.expected = {.height = o.settings.height,
                   .width = o.settings.width,
                   .batch_size = o.batch_size,
                   .max_sequence_length = o.settings.max_sequence_length,
                   .num_inference_steps = o.settings.num_inference_steps};
  if (!o.dtype.empty()) load.torch_dtype = tensor::parse_dtype(o.dtype);
  load.float8 = o.float8;
  load.allow_tf32 = o.allow_tf32;
  if (!o.compute_dtype.empty()) load.arithmetic = tensor::parse_dtype(o.compute_dtype);
  return load;
}

}  // namespace diffract::cli
