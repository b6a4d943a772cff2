#include <fmt/format.h>

#include "diffract/jobs/picture_parameters.h"

namespace diffract::jobs {
namespace {

// A text that is part of the settings line; its readers split that line at commas outside quotes.
std::string setting(const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : json_text(value);
  return text.find_first_of(",\"\n:") == std::string::npos ? text : json_text(text);
}

}  // namespace

std::string webui_parameters(const Json& p) {
  static constexpr std::pair<const char*, const char*> kNames[] = {{"Steps", "num_inference_steps"},
                                                                   {"Sampler", "scheduler"},
                                                                   {"CFG scale", "guidance_scale"},
                                                                   {"Seed", "seed"}};
  std::string text = p.at("prompt").get<std::string>();
  if (p.contains("negative_prompt") && !p["negative_prompt"].get_ref<const std::string&>().empty())
    text += "\nNegative prompt: " + p["negative_prompt"].get<std::string>();
  text += "\n";
  for (const auto& [label, key] : kNames) text += fmt::format("{}: {}, ", label, setting(p.at(key)));
  text += fmt::format("Size: {}x{}, Model: {}", p.at("width").get<int64_t>(), p.at("height").get<int64_t>(),
                      setting(p.at("model")));
  if (p.contains("strength")) text += fmt::format(", Denoising strength: {}", p["strength"].get<double>());
  if (p.contains("clip_skip")) text += fmt::format(", Clip skip: {}", p["clip_skip"].get<int64_t>());
  return text + fmt::format(", Version: diffract {}", p.at("version").get<std::string>());
}

}  // namespace diffract::jobs
