#include "diffract/weights/lora_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "diffract/core/error.h"
#include "diffract/weights/checkpoint.h"

namespace diffract::weights {
namespace {

enum class Role { down, up, alpha, magnitude, left_out };

/// How a format spells a role: what a key has behind its module.
struct Spelling {
  std::string_view end;
  Role role;
  const char* format;
};
constexpr Spelling kSpellings[] = {{".lora_down.weight", Role::down, "kohya"},
                                   {".lora_up.weight", Role::up, "kohya"},
                                   {".alpha", Role::alpha, "kohya"},
                                   {".dora_scale", Role::left_out, "kohya"},
                                   {".lora_A.weight", Role::down, "peft"},
                                   {".lora_B.weight", Role::up, "peft"},
                                   {".lora_magnitude_vector", Role::magnitude, "peft"},
                                   {".lora_magnitude_vector.weight", Role::magnitude, "peft"},
                                   {".lora.down.weight", Role::down, "diffusers"},
                                   {".lora.up.weight", Role::up, "diffusers"},
                                   {"_lora.down.weight", Role::down, "diffusers"},
                                   {"_lora.up.weight", Role::up, "diffusers"},
                                   {".lora_linear_layer.down.weight", Role::down, "diffusers"},
                                   {".lora_linear_layer.up.weight", Role::up, "diffusers"}};

// Kinds of addition that diffusers does not load for these models, or that are not built here.
constexpr std::pair<std::string_view, const char*> kOthers[] = {{".hada_w", "LoHa"},
                                                                {".lokr_w", "LoKr"},
                                                                {".lora_mid.", "a Tucker decomposition"},
                                                                {".oft_", "OFT"},
                                                                {".diff", "a changed tensor"},
                                                                {".lora_B.bias", "a bias"},
                                                                {".set_weight", "GLoRA"},
                                                                {".lora_embedding_", "an embedding"},
                                                                {".w_norm", "a norm"}};

// "x.lora_A.default.weight", as peft itself saves an adapter's name, without it.
std::string without_adapter(const std::string& key) {
  for (const std::string_view part : {".lora_A.", ".lora_B.", ".lora_magnitude_vector."}) {
    const size_t at = key.find(part);
    if (at == std::string::npos) continue;
    const size_t name = at + part.size(), end = key.rfind(".weight");
    if (end != std::string::npos && end > name) return key.substr(0, name) + key.substr(end + 1);
  }
  return key;
}

bool replace_end(std::string& text, std::string_view end, std::string_view by) {
  if (!text.ends_with(end)) return false;
  text.replace(text.size() - end.size(), end.size(), by);
  return true;
}

// The module of a key of diffusers' attention processors: "attn1.processor.to_out" is "attn1.to_out.0" of the
// model; in a text encoder's "self_attn", "to_q" is "q_proj".
std::string module_of_processor(std::string module) {
  if (const size_t at = module.find(".processor."); at != std::string::npos) module.replace(at, 10, "");
  if (module.find(".self_attn.") != std::string::npos)
    for (const auto& [old, now] : {std::pair(".to_q", ".q_proj"),
                                   {".to_k", ".k_proj"},
                                   {".to_v", ".v_proj"},
                                   {".to_out", ".out_proj"}})
      if (replace_end(module, old, now)) return module;
  if (module.ends_with(".to_out")) module += ".0";
  return module;
}

struct Key {
  std::string module;
  Role role;
  const char* format;
};

std::optional<Key> parse_key(const std::string& key) {
  const std::string plain = without_adapter(key);
  for (const Spelling& spelling : kSpellings) {
    if (!plain.ends_with(spelling.end) || plain.size() == spelling.end.size()) continue;
    std::string module = plain.substr(0, plain.size() - spelling.end.size());
    if (std::string_view(spelling.format) == "diffusers") module = module_of_processor(std::move(module));
    return Key{std::move(module), spelling.role, spelling.format};
  }
  return {};
}

[[noreturn]] void refuse_key(const std::string& file, const std::string& key) {
  for (const auto& [part, kind] : kOthers)
    if (key.find(part) != std::string::npos)
      throw CheckpointError("{}: \"{}\" is {}; diffract reads LoRAs of a pair of matrices for each module",
                            file, key, kind);
  throw CheckpointError("{}: \"{}\" is no key of a LoRA; expected one as \"unet....to_q.lora_A.weight\"",
                        file, key);
}

/// peft's settings, which diffusers writes into the file: "unet.r", "unet.lora_alpha", ...
class PeftMetadata {
 public:
  PeftMetadata(const io::SafetensorsFile& file, const std::string& where)
      : source_(where + ": lora_adapter_metadata") {
    const auto found = file.metadata().find("lora_adapter_metadata");
    if (found == file.metadata().end()) return;
    json_ = parse_json(found->second, source_);
    if (!json_.is_object()) throw CheckpointError("{}: is {}; expected an object", source_, excerpt(json_));
  }

  /// Alpha over rank of a module, or nothing where the file does not say.
  std::optional<double> scale(const std::string& module, int64_t rank) const {
    for (const auto& [key, value] : json_.items()) {
      constexpr std::string_view kAlpha = ".lora_alpha";
      if (!std::string_view(key).ends_with(kAlpha)) continue;
      const std::string component = key.substr(0, key.size() - kAlpha.size());
      if (!module.starts_with(component + ".")) continue;
      const ConfigReader config(json_, source_);
      const double alpha = pattern(component + ".alpha_pattern", module).value_or(number(value, key));
      const bool root = config.boolean((component + ".use_rslora").c_str(), false);
      return alpha / (root ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
    }
    return {};
  }

 private:
  double number(const Json& value, const std::string& key) const {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      throw CheckpointError("{}: \"{}\" is {}; expected a number", source_, key, excerpt(value));
    return value.get<double>();
  }
  // Its keys are modules, or the ends of their names.
  std::optional<double> pattern(const std::string& key, const std::string& module) const {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_object()) return {};
    for (const auto& [name, value] : found->items())
      if (module.ends_with("." + name)) return number(value, key);
    return {};
  }

  std::string source_;
  Json json_ = Json::object();
};

// For a file whose shapes nobody expects.
std::vector<int64_t> shape_of(const io::TensorInfo& info, const std::string& where) {
  constexpr size_t kMostDimensions = 8;
  if (info.shape.size() > kMostDimensions)
    throw CheckpointError("{}: \"{}\": has {} dimensions; expected a matrix, a kernel or a number", where,
                          info.name, info.shape.size());
  if (info.begin == info.end)
    throw CheckpointError("{}: \"{}\": has shape [{}], and so nothing in it", where, info.name,
                          fmt::join(info.shape, ", "));
  return {info.shape.begin(), info.shape.end()};
}

struct Tensors {
  at::Tensor down, up, magnitude;
  std::optional<double> alpha;
};

double alpha_of(const at::Tensor& tensor, const std::string& where) {
  const double alpha = tensor.numel() == 1 ? tensor.to(at::kDouble).item<double>() : NAN;
  if (!std::isfinite(alpha)) throw CheckpointError("{}: is no finite number", where);
  return alpha;
}

LowRank pair_of(const Tensors& found, const std::string& name) {
  if (!found.down.defined() || !found.up.defined())
    throw CheckpointError("{}: has one matrix of two (\"{}\" is missing)", name,
                          found.down.defined() ? "up" : "down");
  const int64_t rank = found.down.dim() >= 2 ? found.down.size(0) : 0;
  const bool fits = rank > 0 && found.up.dim() >= 2 && found.up.size(1) == rank &&
                    found.up.numel() == found.up.size(0) * rank && found.up.numel() > 0;
  if (!fits)
    throw CheckpointError(
        "{}: has matrices of shapes {} (down) and {} (up); expected [rank, in] and [out, rank]", name,
        c10::str(found.down.sizes()), c10::str(found.up.sizes()));
  return {.name = name,
          .down = found.down,
          .up = found.up.flatten(1),
          .magnitude = found.magnitude.defined() ? found.magnitude.flatten() : at::Tensor(),
          .scale = found.alpha.value_or(static_cast<double>(rank)) / static_cast<double>(rank)};
}

}  // namespace

LoraFile LoraFile::open(const std::filesystem::path& path) {
  const std::string where = path.string();
  const auto file = io::SafetensorsFile::open(path);
  const auto checkpoint = Checkpoint::open({.files = {path}, .description = where});
  LoraFile lora;
  std::map<std::string, Tensors> found;
  for (const io::TensorInfo& info : file->tensors()) {
    const auto key = parse_key(info.name);
    if (!key) refuse_key(where, info.name);
    if (lora.format.empty() || key->role == Role::down) lora.format = key->format;
    if (key->role == Role::left_out) {
      ++lora.left_out;
      continue;
    }
    const at::Tensor tensor = checkpoint->stored(info.name, shape_of(info, where)).view;
    Tensors& module = found[key->module];
    if (key->role == Role::alpha)
      module.alpha = alpha_of(tensor, fmt::format("{}: \"{}\"", where, info.name));
    if (key->role == Role::alpha) continue;
    at::Tensor& place = key->role == Role::down ? module.down
                        : key->role == Role::up ? module.up
                                                : module.magnitude;
    if (place.defined())
      throw CheckpointError(
          "{}: \"{}\": stands for a matrix that another one is already; is it of two adapters?", where,
          info.name);
    place = tensor;
  }
  if (found.empty()) throw CheckpointError("{}: has no tensors; expected a LoRA's", where);
  const PeftMetadata metadata(*file, where);
  for (auto& [module, tensors] : found) {
    LowRank pair = pair_of(tensors, fmt::format("{}: \"{}\"", where, module));
    if (const auto scale = metadata.scale(module, pair.down.size(0))) pair.scale = *scale;
    lora.modules.emplace(module, std::move(pair));
  }
  return lora;
}

std::optional<Json> describe_lora(const std::filesystem::path& path) {
  const auto file = io::SafetensorsFile::open(path);
  const auto is_lora = [](const io::TensorInfo& info) {
    const auto key = parse_key(info.name);
    return key && (key->role == Role::down || key->role == Role::up);
  };
  if (std::none_of(file->tensors().begin(), file->tensors().end(), is_lora)) return {};
  const LoraFile lora = LoraFile::open(path);
  std::set<int64_t> ranks;
  bool convolutions = false, dora = false;
  for (const auto& [module, pair] : lora.modules) {
    ranks.insert(pair.down.size(0));
    convolutions = convolutions || pair.down.dim() > 2;
    dora = dora || pair.magnitude.defined();
  }
  return Json{{"format", lora.format},
              {"modules", lora.modules.size()},
              {"ranks", ranks},
              {"convolutions", convolutions},
              {"dora", dora}};
}

}  // namespace diffract::weights
