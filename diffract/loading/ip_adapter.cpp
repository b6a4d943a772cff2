#include "diffract/loading/ip_adapter.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/loading/addition_files.h"
#include "diffract/models/model_class.h"
#include "diffract/models/module_tree.h"
#include "diffract/models/unet/unet_2d_config.h"

namespace diffract::loading {
namespace {

using models::ImageProjectionConfig;
using Shape = std::vector<int64_t>;

constexpr std::string_view kProjections = "encoder_hid_proj.image_projection_layers.";
constexpr std::string_view kProcessor = ".processor.";
constexpr const char *kProjection = "image_proj.", *kAttention = "ip_adapter.";
constexpr size_t kMostAdapters = 16;

std::string shown(const Shape& shape) {
  constexpr size_t kMost = 8;
  const std::span some = std::span(shape).first(std::min(shape.size(), kMost));
  return fmt::format("[{}]", fmt::join(some, ", "));
}

// The shapes of a file's tensors.
class Shapes {
 public:
  explicit Shapes(const io::SafetensorsFile& file) : path_(file.path().string()) {
    for (const io::TensorInfo& info : file.tensors())
      shapes_[info.name] = Shape(info.shape.begin(), info.shape.end());
  }
  bool has(const std::string& name) const { return shapes_.contains(name); }
  const std::map<std::string, Shape>& all() const { return shapes_; }
  /// Throws CheckpointError for one that is missing or has another number of dimensions.
  const Shape& of(const std::string& name, size_t dimensions) const {
    const auto found = shapes_.find(name);
    if (found == shapes_.end())
      throw CheckpointError("{}: tensor \"{}\" is missing. Is it an IP-Adapter?", path_, name);
    const Shape& shape = found->second;
    if (shape.size() != dimensions || std::find(shape.begin(), shape.end(), 0) != shape.end())
      throw CheckpointError("{}: \"{}\" has shape {}; expected {} dimensions", path_, name, shown(shape),
                            dimensions);
    return shape;
  }

 private:
  std::string path_;
  std::map<std::string, Shape> shapes_;
};

void refuse_other_forms(const Shapes& shapes, const std::string& file) {
  const std::pair<const char*, const char*> kForms[] = {
      {"image_proj.perceiver_resampler.proj_in.weight", "IP-Adapter FaceID Plus"},
      {"image_proj.proj.3.weight", "IP-Adapter Full Face"},
      {"image_proj.proj.0.weight", "IP-Adapter FaceID"}};
  for (const auto& [name, form] : kForms)
    if (shapes.has(name))
      throw CheckpointError("{}: is an {}, which diffract does not run yet; it runs the basic form and Plus",
                            file, form);
}

// diffusers' _convert_ip_adapter_image_proj_to_diffusers.
ImageProjectionConfig projection_of(const Shapes& shapes, const std::string& file) {
  constexpr int64_t kBasicTokens = 4, kMostLayers = 64;
  refuse_other_forms(shapes, file);
  if (shapes.has("image_proj.proj.weight")) {
    const Shape& proj = shapes.of("image_proj.proj.weight", 2);
    return {.image_embed_dim = proj[1],
            .cross_attention_dim = proj[0] / kBasicTokens,
            .num_image_text_embeds = kBasicTokens};
  }
  const Shape &latents = shapes.of("image_proj.latents", 3), &in = shapes.of("image_proj.proj_in.weight", 2);
  ImageProjectionConfig config{.image_embed_dim = in[1],
                               .cross_attention_dim = shapes.of("image_proj.proj_out.weight", 2)[0],
                               .num_image_text_embeds = latents[1],
                               .hidden_dim = latents[2],
                               .inner_dim = shapes.of("image_proj.layers.0.0.to_q.weight", 2)[0],
                               .feed_forward_dim = shapes.of("image_proj.layers.0.1.1.weight", 2)[0]};
  while (config.depth < kMostLayers &&
         shapes.has(fmt::format("image_proj.layers.{}.0.to_q.weight", config.depth)))
    ++config.depth;
  return ImageProjectionConfig::from_json({config.to_json(), file});
}

// The denoiser's attentions to the text in the order of diffusers' attn_processors.
std::vector<std::string> attentions_of(const ConfigReader& denoiser) {
  std::vector<std::string> names;
  models::make_module_tree(denoiser).walk([&](const std::string& name, const placement::Module&) {
    if (name.ends_with(".attn2")) names.push_back(name);
  });
  return names;
}

// What a denoiser asks for, by name.
std::map<std::string, Shape> shapes_asked(const ConfigReader& denoiser) {
  std::map<std::string, Shape> asked;
  const auto source = weights::meta_source(
      [&](const std::string& name, at::IntArrayRef shape) { asked[name] = shape.vec(); });
  const auto& known = models::find_model_class(models::class_name_of(denoiser), denoiser.source());
  known.build(denoiser, weights::WeightScope(source, {}));
  return asked;
}

std::string attention_tensor(size_t attention, char kind) {
  return fmt::format("{}{}.to_{}_ip.weight", kAttention, 2 * attention + 1, kind);
}

}  // namespace

// Tensors of adapters under the denoiser's names.
class IpAdapterSet::Source final : public weights::TensorSource {
 public:
  Source(weights::TensorSourcePtr source, std::shared_ptr<const IpAdapterSet> adapters)
      : source_(std::move(source)), adapters_(std::move(adapters)) {
    for (size_t i = 0; i < adapters_->adapters_.size(); ++i)
      for (size_t a = 0; a < adapters_->attentions_.size(); ++a)
        for (const char kind : {'k', 'v'})
          names_[fmt::format("{}{}to_{}_ip.{}.weight", adapters_->attentions_[a], kProcessor, kind, i)] = {
              i, attention_tensor(a, kind)};
  }
  bool has(const std::string& name) const override {
    const auto [adapter, tensor] = place_of(name);
    return adapter ? adapter->tensors->has(tensor) : source_->has(name);
  }
  weights::StoredTensor stored(const std::string& name, at::IntArrayRef shape) const override {
    const auto [adapter, tensor] = place_of(name);
    return adapter ? adapter->tensors->stored(tensor, shape) : source_->stored(name, shape);
  }
  int64_t total_elements() const override {
    int64_t sum = source_->total_elements();
    for (const Adapter& one : adapters_->adapters_) sum += one.tensors->total_elements();
    return sum;
  }

 private:
  // Null: the denoiser's own.
  std::pair<const Adapter*, std::string> place_of(const std::string& name) const {
    if (const auto found = names_.find(name); found != names_.end())
      return {&adapters_->adapters_[found->second.first], found->second.second};
    if (!name.starts_with(kProjections)) return {};
    const size_t dot = name.find('.', kProjections.size());
    for (size_t i = 0; i < adapters_->adapters_.size(); ++i)
      if (name.substr(kProjections.size(), dot - kProjections.size()) == std::to_string(i))
        return {&adapters_->adapters_[i], kProjection + name.substr(dot + 1)};
    return {};
  }

  weights::TensorSourcePtr source_;
  std::shared_ptr<const IpAdapterSet> adapters_;
  std::map<std::string, std::pair<size_t, std::string>> names_;
};

IpAdapterSet::IpAdapterSet(const std::vector<IpAdapterOption>& options, const FamilyFacts& facts,
                           const io::ModelFolder& folder) {
  if (options.empty()) return;
  if (!facts.takes_ip_adapters)
    throw UsageError("ip_adapter: {} takes none yet; leave --ip-adapter out", facts.class_name);
  if (options.size() > kMostAdapters)
    throw UsageError("ip_adapter: {} given; expected at most {}", options.size(), kMostAdapters);
  const ConfigReader denoiser = folder.config(std::string(facts.denoiser));
  attentions_ = attentions_of(denoiser);
  for (const IpAdapterOption& option : options) {
    const auto path = find_addition_file(option.path, "--ip-adapter", kIpAdapterFile);
    const auto file = io::SafetensorsFile::open(path);
    const Shapes shapes(*file);
    adapters_.push_back(
        {.file = path.string(),
         .tensors = weights::Checkpoint::open({.files = {path}, .description = path.string()}),
         .projection = projection_of(shapes, path.string())});
  }
  require_fit(grown(denoiser));
}

void IpAdapterSet::require_fit(const ConfigReader& grown) const {
  const auto asked = shapes_asked(grown);
  for (size_t i = 0; i < adapters_.size(); ++i) {
    const Adapter& adapter = adapters_[i];
    const Shapes shapes(*io::SafetensorsFile::open(adapter.file));
    const auto require = [&](const std::string& tensor, const Shape& wanted) {
      if (!shapes.has(tensor) || shapes.all().at(tensor) != wanted)
        throw CheckpointError(
            "{}: \"{}\" {}; this model takes {}. The IP-Adapter was made for another base model",
            adapter.file, tensor,
            shapes.has(tensor) ? "has shape " + shown(shapes.all().at(tensor)) : "is missing", shown(wanted));
    };
    for (size_t a = 0; a < attentions_.size(); ++a)
      for (const char kind : {'k', 'v'}) {
        const Shape& wanted =
            asked.at(fmt::format("{}{}to_{}_ip.{}.weight", attentions_[a], kProcessor, kind, i));
        require(attention_tensor(a, kind), wanted);
        if (adapter.projection.cross_attention_dim != wanted[1])
          throw CheckpointError(
              "{}: makes tokens of width {}, and its attentions take {}; its tensors are of "
              "different files",
              adapter.file, adapter.projection.cross_attention_dim, wanted[1]);
      }
    const std::string prefix = fmt::format("{}{}.", kProjections, i);
    for (const auto& [name, wanted] : asked)
      if (name.starts_with(prefix)) require(kProjection + name.substr(prefix.size()), wanted);
    const std::string next = attention_tensor(attentions_.size(), 'k');
    if (shapes.has(next))
      throw CheckpointError(
          "{}: has \"{}\"; this model has {} attentions to its text. The IP-Adapter was made for another "
          "base "
          "model",
          adapter.file, next, attentions_.size());
  }
}

weights::TensorSourcePtr IpAdapterSet::over(weights::TensorSourcePtr source,
                                            const std::shared_ptr<const IpAdapterSet>& adapters) {
  if (!adapters || adapters->empty()) return source;
  return std::make_shared<const Source>(std::move(source), adapters);
}

ConfigReader IpAdapterSet::grown(const ConfigReader& denoiser) const {
  Json json = denoiser.json();
  json[models::kIpAdaptersKey] = Json::array();
  for (const Adapter& one : adapters_) json[models::kIpAdaptersKey].push_back(one.projection.to_json());
  return {std::move(json), denoiser.source()};
}

std::optional<Json> describe_ip_adapter(const std::filesystem::path& path) {
  const auto file = io::SafetensorsFile::open(path);
  const Shapes shapes(*file);
  size_t attentions = 0;
  while (shapes.has(attention_tensor(attentions, 'k'))) ++attentions;
  if (attentions == 0) return std::nullopt;
  const auto config = projection_of(shapes, path.string());
  return Json{{"form", config.reads_hidden_states() ? "plus" : "basic"},
              {"tokens", config.num_image_text_embeds},
              {"image_embed_dim", config.image_embed_dim},
              {"cross_attention_dim", config.cross_attention_dim},
              {"attentions", attentions}};
}

}  // namespace diffract::loading
