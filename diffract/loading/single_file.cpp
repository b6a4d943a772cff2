#include "diffract/loading/single_file.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/io/missing_files.h"

namespace diffract::loading {
namespace {

bool has_prefix(const io::SafetensorsFile& file, std::string_view prefix) {
  const auto& tensors = file.tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const io::TensorInfo& tensor) { return tensor.name.starts_with(prefix); });
}

// What the keys of a component begin with in this file; none: it has none of it.
std::optional<std::string_view> prefix_of(const io::SafetensorsFile& file, std::string_view component,
                                          const FamilyFacts& facts) {
  for (const SingleFilePart& part : facts.single_file_parts)
    if (part.component == component && has_prefix(file, part.prefix)) return part.prefix;
  return {};
}

// A dimension of the first tensor whose name begins and ends so; none: there is no such tensor.
std::optional<uint64_t> width_of(const io::SafetensorsFile& file, std::string_view begin,
                                 std::string_view end) {
  for (const io::TensorInfo& tensor : file.tensors())
    if (tensor.name.starts_with(begin) && tensor.name.ends_with(end) && tensor.shape.size() >= 2)
      return tensor.shape[1];
  return {};
}

// The denoiser's own, as its authors named them.
constexpr std::string_view kFirstKernel = "input_blocks.0.0.weight", kReadsText = "attn2.to_k.weight";

struct Hint {
  std::string_view key, what;
};
// What else a file may be, by a part of a key.
constexpr Hint kOthers[] = {
    {".lora_down.", "It looks like a LoRA: --lora FILE"},
    {".lora_A.", "It looks like a LoRA: --lora FILE"},
    {"lora_unet_", "It looks like a LoRA: --lora FILE"},
    {"control_model.", "It looks like a ControlNet, which is no whole model"},
    {"controlnet_", "It looks like a ControlNet, which is no whole model"},
    {"double_blocks.", "It looks like FLUX, whose single files are not read yet: give its folder"},
    {"joint_blocks.", "It looks like Stable Diffusion 3, which is not run yet"},
    {"down_blocks.",
     "It looks like one model with diffusers' names: --unet FILE or --vae FILE, beside --model"},
    {"decoder.up.", "It looks like a VAE: --vae FILE, beside --model"},
    {"emb_params", "It looks like an embedding: --textual-inversion FILE"},
    {"model.diffusion_model.", "It looks like a part of a checkpoint, or one for another task"}};

std::string hint_for(const io::SafetensorsFile& file) {
  for (const Hint& hint : kOthers)
    for (const io::TensorInfo& tensor : file.tensors())
      if (tensor.name.find(hint.key) != std::string::npos) return fmt::format(". {}", hint.what);
  return {};
}

std::string examples_of(const io::SafetensorsFile& file) {
  constexpr size_t kShown = 3;
  const auto& tensors = file.tensors();
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(kShown, tensors.size()); ++i)
    names.push_back(excerpt(Json(tensors[i * (tensors.size() - 1) / kShown].name)));
  return fmt::format("{} tensors, {}", tensors.size(), fmt::join(names, ", "));
}

}  // namespace

std::optional<FoundKind> find_single_file_kind(const io::SafetensorsFile& file,
                                               std::span<const FamilyFacts* const> families) {
  for (const FamilyFacts* facts : families) {
    const auto denoiser = prefix_of(file, facts->denoiser, *facts);
    if (!denoiser) continue;
    const auto channels = width_of(file, *denoiser, kFirstKernel);
    const auto text_width = width_of(file, *denoiser, kReadsText);
    const bool has_texts =
        std::any_of(facts->single_file_kinds.begin(), facts->single_file_kinds.end(),
                    [&](const SingleFileKind& kind) { return has_prefix(file, kind.text_encoder); });
    for (const SingleFileKind& kind : facts->single_file_kinds) {
      const bool reads_as = has_texts ? has_prefix(file, kind.text_encoder) : text_width == kind.text_width;
      if (reads_as && channels == kind.channels) return FoundKind{.family = facts, .kind = &kind};
    }
  }
  return {};
}

FoundKind require_single_file_kind(const io::SafetensorsFile& file,
                                   std::span<const FamilyFacts* const> families) {
  if (const auto found = find_single_file_kind(file, families)) return *found;
  std::vector<std::string_view> known;
  for (const FamilyFacts* facts : families)
    for (const SingleFileKind& kind : facts->single_file_kinds) known.push_back(kind.name);
  throw CheckpointError("{}: its keys are those of no kind of file that diffract reads ({}). It reads {}{}",
                        file.path().string(), examples_of(file), fmt::join(known, ", "), hint_for(file));
}

std::optional<Json> describe_single_file(const io::SafetensorsFile& file,
                                         std::span<const FamilyFacts* const> families) {
  const auto found = find_single_file_kind(file, families);
  if (!found) return {};
  Json components = Json::object();
  size_t left_out = file.tensors().size();
  for (const SingleFilePart& part : found->family->single_file_parts) {
    const std::string name(part.component);
    if (components.contains(name) || prefix_of(file, name, *found->family) != part.prefix) continue;
    uint64_t parameters = 0, bytes = 0;
    std::map<std::string, uint64_t> dtypes;
    for (const io::TensorInfo& tensor : file.tensors()) {
      if (!tensor.name.starts_with(part.prefix)) continue;
      parameters += tensor.elements();
      bytes += tensor.end - tensor.begin;
      dtypes[std::string(io::dtype_name(tensor.dtype))] += tensor.elements();
      --left_out;
    }
    components[name] = {{"parameters", parameters}, {"bytes", bytes}, {"files", 1}, {"dtypes", dtypes}};
  }
  return Json{{"kind", found->kind->name},
              {"config", found->kind->repository},
              {"components", components},
              {"left_out", left_out}};
}

std::optional<io::WeightFiles> component_in_file(const io::SafetensorsFile& file,
                                                 const std::string& component, const std::string& class_name,
                                                 const ConfigReader& config, const FamilyFacts& facts) {
  const auto* known = models::find_model_class(std::string_view(class_name));
  if (!known) return {};
  const auto prefix = prefix_of(file, component, facts);
  if (!prefix) return {};
  return io::WeightFiles{.files = {file.path()},
                         .description = fmt::format("{} in {}", component, file.path().string()),
                         .parts = [prefix = std::string(*prefix), names = known->original_names,
                                   config](const std::string& name) -> std::vector<io::NamedPart> {
                           if (!name.starts_with(prefix)) return {};
                           std::string own = name.substr(prefix.size());
                           if (!names) return {{.name = std::move(own)}};
                           return names(own, config);
                         }};
}

void take_components(io::ModelFolder& folder, const std::shared_ptr<const io::SafetensorsFile>& file,
                     const FamilyFacts& facts) {
  folder.set_origin(file->path());
  for (const std::string& name : folder.component_names()) {
    if (!io::has_weights(name)) continue;
    const std::string class_name = folder.component_class(name);
    if (!models::find_model_class(std::string_view(class_name))) continue;
    if (auto weights = component_in_file(*file, name, class_name, folder.config(name), facts))
      folder.set_component(name, {.class_name = class_name, .weights = std::move(weights)});
  }
  folder.leave_out("safety_checker");  // as from_single_file does
  if (file->find("v_pred"))
    log::write_once(log::Level::warning,
                    fmt::format("{}: has a tensor \"v_pred\": where the pictures are noise, give "
                                "--scheduler-config '{{\"prediction_type\": \"v_prediction\"}}'",
                                file->path().string()));
}

void require_components(const io::ModelFolder& folder, const FamilyFacts& facts, const std::string& variant) {
  for (const std::string& name : folder.component_names()) {
    if (!io::has_weights(name) || folder.elsewhere(name)) continue;
    if (io::missing_weight_files(folder.path() / name, variant).empty()) continue;
    std::vector<std::string> prefixes;
    for (const SingleFilePart& part : facts.single_file_parts)
      if (part.component == name) prefixes.push_back(fmt::format("\"{}\"", part.prefix));
    std::string option = name;
    std::replace(option.begin(), option.end(), '_', '-');
    throw CheckpointError(
        "{}: has no {} (keys that begin with {}), nor has {}. Give one: --{} FILE or FOLDER",
        folder.origin().string(), name, fmt::join(prefixes, " or "), folder.path().string(), option);
  }
}

}  // namespace diffract::loading
