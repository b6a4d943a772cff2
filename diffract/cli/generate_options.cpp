#include "diffract/cli/generate_options.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

#include "diffract/cli/field_options.h"
#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/core/utf8.h"
#include "diffract/jobs/prompts_file.h"

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

// A number, or the word "auto".
void add_batch_size(CLI::App& app, std::optional<int64_t>& size) {
  const auto parse = [&size](const std::string& text) {
    size.reset();
    if (text == "auto") return;
    size = 0;
    const char* end = text.data() + text.size();
    const auto [stop, failure] = std::from_chars(text.data(), end, *size);
    if (failure != std::errc() || stop != end || *size < 1)
      throw CLI::ValidationError("--batch-size",
                                 "\"" + shortened(text, 40) + "\": expected a whole number from 1, or auto");
  };
  app.add_option_function<std::string>("--batch-size", parse,
                                       "Images computed together; auto: as many as is fastest, found by "
                                       "measuring the job's own")
      ->type_name("TEXT")
      ->default_str("1");
}

}  // namespace

void declare_generate_options(CLI::App& app, GenerateOptions& o) {
  add_texts(app, "PROMPT", o.words, "What to draw: one prompt, in quotes. For several: --prompt");
  keep_extra_words(app, o.words);
  add_path(app, "-m,--model", o.model,
           "Folder, single .safetensors file, ORG/NAME[@REV] in the Hugging Face cache, or a built-in model");
  for (const auto& field : pipelines::request_fields()) {
    if (field.kind == pipelines::RequestField::Kind::seed)
      add_seed(app, names_of(field), o.seed, field.help);
    else
      add_field(app, field, o.settings);
  }
  add_path(app, "--prompts-file", o.prompts_file,
           "Prompts, one a line, or in JSON with options of their own (docs/jobs.md); -: standard input");
  app.add_option("--prompts-format", o.prompts_format,
                 "text, jsonl (JSON lines) or json (a list); default: by the file's name and content")
      ->check(CLI::IsMember({"text", "jsonl", "json"}));
  add_batch_size(app, o.batch_size);
  for (const auto& field : loading::load_fields()) add_field(app, field, o.loading);
  app.add_option("--in-flight", o.in_flight,
                 "Batches in flight at once where processes share the models; default: two a process");
  app.add_option("--peer-timeout", o.peer_timeout,
                 "Seconds to wait for another process that shares the models; default: 300");
  app.add_option("--threads", o.threads, "Threads of the CPU; default: all cores");
  add_path(app, "-o,--output", o.output,
           "Pattern with {index}, {prompt}, {seed}, {rank} that ends in .png, of latents in .safetensors; "
           "default: image_{index}.png");
  add_path(app, "--save-steps", o.save_steps, "FILE.safetensors of the latents after each step");
  app.add_option("--preview-every", o.preview_every,
                 "Save what each picture looks like after every N steps beside it: image_0.step_004.png");
  app.add_option("--schedule", o.schedule,
                 "How a job's batches go to its processes: dynamic (to the one that is free) or static "
                 "(equal shares)")
      ->check(CLI::IsMember({"static", "dynamic"}))
      ->capture_default_str();
  app.add_flag("--resume", o.resume, "Skip images that already exist, made with the same parameters");
  app.add_flag("--json", o.json, "One JSON object on stdout");
  app.footer(
      "Example:\n  diffract generate \"a dog\"\n  diffract generate --prompt \"a dog\" --prompt \"a cat\" "
      "--steps 25 --seed 7 --output \"{prompt}.png\"\nTwo processes with half of the models each:\n  "
      "diffract "
      "launch --num_processes=2 generate --device_map=ranks --prompt \"a dog\" --prompt \"a cat\"");
}

namespace {

// Several words are a prompt whose quotes were forgotten, and "--resume yes" leaves a word as well.
std::vector<std::string> given_prompts(const GenerateOptions& o) {
  if (o.words.empty()) return o.settings.prompt;
  if (o.words.size() == 1 && o.settings.prompt.empty() && o.prompts_file.empty()) return o.words;
  throw UsageError(
      "\"{}\" stands alone: a prompt of several words needs quotes, and of several prompts each needs "
      "--prompt",
      o.words.front());
}

// The settings of a file's prompts.
pipelines::Request shared_settings(const GenerateOptions& o) {
  pipelines::Request shared = o.settings;
  shared.prompt.clear();
  for (const auto& field : pipelines::request_fields())
    if (field.is_list() && !field.several_each && field.get(shared).size() > 1)
      throw UsageError(
          "--prompts-file: give {} at most once, or in the file's lines; several, one for each --prompt, "
          "leave none for the file's prompts",
          field.option());
  return shared;
}

}  // namespace

std::vector<pipelines::Request> job_requests(const GenerateOptions& o) {
  std::vector<pipelines::Request> requests;
  if (const auto prompts = given_prompts(o); !prompts.empty()) {
    requests.push_back(o.settings);
    requests.back().prompt = prompts;
  }
  if (!o.prompts_file.empty()) {
    auto of_file = jobs::load_prompts(o.prompts_file, o.prompts_format, shared_settings(o));
    requests.insert(requests.end(), std::make_move_iterator(of_file.begin()),
                    std::make_move_iterator(of_file.end()));
  }
  if (requests.empty())
    throw UsageError("no prompts: give a prompt in quotes, --prompt \"a dog\", or --prompts-file FILE");
  return requests;
}

void warn_of_prompt_syntax(const std::vector<jobs::JobBatch>& batches) {
  for (const auto& batch : batches)
    for (const auto& image : batch.images)
      for (const char* tag : {"<lora:", "<lyco:", "<hypernet:"})
        if (const size_t at = image.prompt.find(tag); at != std::string::npos)
          log::write_once(
              log::Level::warning,
              fmt::format("{} in a prompt is drawn as text; give a LoRA with --lora FILE=WEIGHT",
                          shortened(image.prompt.substr(at, image.prompt.find('>', at) - at), 60) + ">"));
}

jobs::JobOptions job_options(const GenerateOptions& o) {
  if (o.threads < 0 || o.threads > 4096) throw UsageError("--threads {}: expected 1 to 4096", o.threads);
  if (o.in_flight < 0 || o.in_flight > 1024)
    throw UsageError("--in-flight {}: expected 1 to 1024", o.in_flight);
  if (!(o.peer_timeout >= 0 && o.peer_timeout <= 1e6))
    throw UsageError("--peer-timeout {}: expected seconds, more than 0 and up to 1,000,000", o.peer_timeout);
  return {.model = o.model,
          .loading = o.loading,
          .requests = {},
          .seed = o.seed.value,
          .seed_is_random = o.seed.is_random,
          .batch_size = o.batch_size,
          .output = {.pattern = o.output,
                     .save_steps = o.save_steps,
                     .preview_every = o.preview_every,
                     .latent = o.settings.output_type == pipelines::OutputType::latent,
                     .resume = o.resume},
          .equal_shares = o.schedule == "static",
          .in_flight = static_cast<int>(o.in_flight),
          .threads = static_cast<int>(o.threads),
          .peer_timeout_seconds = o.peer_timeout,
          .prompts_file = o.prompts_file};
}

}  // namespace diffract::cli
