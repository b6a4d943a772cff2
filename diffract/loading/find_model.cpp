#include "diffract/loading/find_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/foreign_names.h"
#include "diffract/core/lower_case.h"
#include "diffract/io/hub_cache.h"
#include "diffract/loading/builtin_models.h"
#include "diffract/loading/known_models.h"

namespace diffract::loading {
namespace fs = std::filesystem;
namespace {

// What people call models that have another name on the hub.
constexpr ForeignName kForeignModels[] = {
    {"sd", "on the hub it is stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {"sd15", "on the hub it is stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {"sd1.5", "on the hub it is stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {"sd-1.5", "on the hub it is stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {"stable-diffusion", "on the hub it is stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {"stable-diffusion-v1-5", "on the hub it is stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {"stable-diffusion-1.5", "on the hub it is stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {"flux", "on the hub it is black-forest-labs/FLUX.1-dev or black-forest-labs/FLUX.1-schnell"},
    {"flux-dev", "on the hub it is black-forest-labs/FLUX.1-dev"},
    {"flux.1-dev", "on the hub it is black-forest-labs/FLUX.1-dev"},
    {"flux-schnell", "on the hub it is black-forest-labs/FLUX.1-schnell"},
    {"flux.1-schnell", "on the hub it is black-forest-labs/FLUX.1-schnell"},
    {"sdxl", "on the hub it is stabilityai/stable-diffusion-xl-base-1.0"},
    {"sd-xl", "on the hub it is stabilityai/stable-diffusion-xl-base-1.0"},
    {"sd3", "diffract does not run Stable Diffusion 3 yet"},
    {"sd3.5", "diffract does not run Stable Diffusion 3 yet"},
};

bool ends_in(const std::string& name, std::initializer_list<std::string_view> endings) {
  const auto at_end = [&](std::string_view ending) { return name.ends_with(ending); };
  return std::any_of(endings.begin(), endings.end(), at_end);
}

bool is_weights_name(const std::string& model) {
  return ends_in(lower_case(model), {".safetensors", ".ckpt", ".gguf", ".pt", ".pth", ".bin", ".json"});
}

}  // namespace

std::string why_not_safetensors(const std::string& file) {
  const std::string name = lower_case(fs::path(file).filename().string());
  if (ends_in(name, {".gguf"})) return "is a GGUF file, which diffract does not read yet";
  if (!ends_in(name, {".ckpt", ".pt", ".pth", ".bin"})) return {};
  return fmt::format(
      "is a pickle, which can run code when it is read; diffract reads safetensors. Take the model's "
      ".safetensors file, or convert one that you trust: python -c \"import torch; from safetensors.torch "
      "import save_file; t = torch.load('{0}', map_location='cpu'); t = t.get('state_dict', t); "
      "save_file({{k: v.contiguous() for k, v in t.items() if torch.is_tensor(v)}}, '{1}')\"",
      file, fs::path(file).replace_extension(".safetensors").string());
}

bool is_single_file(const std::string& model) {
  std::error_code ignored;
  return is_weights_name(model) && !lower_case(model).ends_with(".json") &&
         fs::is_regular_file(model, ignored);
}

namespace {

std::string what_a_file_is(const std::string& model) {
  const std::string name = lower_case(fs::path(model).filename().string());
  if (name == "model_index.json")
    return fmt::format("is a file of a model's folder; give the folder: --model {}",
                       fs::path(model).parent_path().empty() ? "." : fs::path(model).parent_path().string());
  if (is_weights_name(name)) {
    if (const std::string why = why_not_safetensors(model); !why.empty()) return why;
    return "is a file of weights; what is asked for here needs a folder in the diffusers layout";
  }
  return "is a file; expected a model's folder in the diffusers layout";
}

// The ORG/NAME[@REVISION] that a page or a file of the hub belongs to; empty for other addresses.
std::string hub_model_of(std::string address) {
  if (const size_t scheme = address.find("://"); scheme != std::string::npos) address.erase(0, scheme + 3);
  bool is_hub = false;
  for (const std::string_view host : {"www.huggingface.co/", "huggingface.co/", "hf.co/"})
    if (address.starts_with(host)) {
      address.erase(0, host.size());
      is_hub = true;
      break;
    }
  if (!is_hub) return {};
  std::vector<std::string> words(1);
  for (const char c : address.substr(0, address.find_first_of("?#")))
    if (c == '/')
      words.emplace_back();
    else
      words.back() += c;
  std::erase(words, "");
  if (words.size() < 2) return {};
  std::string model = words[0] + "/" + words[1];
  const bool has_revision = words.size() > 3 && (words[2] == "tree" || words[2] == "blob" ||
                                                 words[2] == "resolve" || words[2] == "commit");
  if (has_revision && words[3] != "main") model += "@" + words[3];
  return io::is_hub_name(model) ? model : std::string();
}

bool is_address(const std::string& model) {
  return model.find("://") != std::string::npos || model.starts_with("huggingface.co/") ||
         model.starts_with("hf.co/");
}

std::string what_an_address_is(const std::string& model) {
  const std::string of_hub = hub_model_of(model);
  if (of_hub.empty())
    return "is a web address, and diffract downloads nothing; give a model's folder, or ORG/NAME[@REVISION] "
           "of one in the Hugging Face cache";
  return fmt::format(
      "is a web address, and diffract downloads nothing; once the model is in the Hugging Face cache: "
      "--model {}. To fetch it: {}",
      of_hub, io::download_command(of_hub));
}

// What a text is that is none of the built-in models, no folder and not of the form ORG/NAME, and what is
// needed instead.
std::string what_it_is(const std::string& model) {
  std::error_code ignored;
  if (is_address(model)) return what_an_address_is(model);
  if (fs::exists(model, ignored)) return what_a_file_is(model);
  if (is_weights_name(model)) return "no such file";
  if (model.find_first_of("/\\~") != std::string::npos)
    return "no such folder, and it is not of the form ORG/NAME[@REVISION]";
  const auto builtin = builtin_models();
  std::string name = lower_case(model);
  std::replace(name.begin(), name.end(), '_', '-');
  const std::string hint = hint_for(name, kForeignModels, builtin);
  return fmt::format(
      "there is no such folder, and it is not of the form ORG/NAME[@REVISION]{}{} Built-in models: {}", hint,
      hint.ends_with('?') ? "" : ".", fmt::join(builtin, ", "));
}

io::Wanted wanted_for(ModelUse use) {
  switch (use) {
    case ModelUse::configs:
      return io::Wanted::configs;
    case ModelUse::beside_weights:
      return io::Wanted::no_weights;
    case ModelUse::part:
      break;
  }
  return io::Wanted::all;
}

fs::path find(const std::string& model, io::Wanted wanted, const ClassCheck& check) {
  if (const auto folder = builtin_model(model)) return *folder;
  std::error_code ignored;
  if (model.empty()) throw UsageError("no model given");
  const bool is_folder = fs::is_directory(model, ignored);
  const auto is_absent_file = [&] { return is_weights_name(model) && !io::is_in_cache(model); };
  if (!is_folder && (!io::is_hub_name(model) || fs::exists(model, ignored) || is_absent_file()))
    throw CheckpointError("model \"{}\": {}", model, what_it_is(model));
  if (!is_folder && check && !io::is_in_cache(model)) {
    const std::string repository = model.substr(0, model.find('@'));
    const std::string_view known = class_of_repository(repository);
    if (known.empty()) throw CheckpointError("{}", io::not_in_cache(model, io::Wanted::first_look));
    check(known, "model " + repository);
  }
  const fs::path folder = is_folder ? fs::path(model) : io::find_snapshot(model, wanted);
  if (const fs::path index = folder / "model_index.json"; check && fs::exists(index, ignored))
    check(io::ModelFolder::open(folder).class_name(), index.string());
  if (!is_folder) io::require_configs(folder, model, wanted);
  return folder;
}

}  // namespace

fs::path find_model(const std::string& model, ModelUse use) { return find(model, wanted_for(use), {}); }

fs::path find_pipeline(const std::string& model, const ClassCheck& check, ModelUse use) {
  return find(model, wanted_for(use), check);
}

}  // namespace diffract::loading
