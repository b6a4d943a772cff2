#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>

#include "diffract/core/json.h"
#include "diffract/models/module_order.h"
#include "diffract/models/shared/sample_size.h"
#include "diffract/placement/module_tree.h"
#include "diffract/weights/original_names.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::models {

/// What a model is run on, as far as memory and time depend on it.
struct ForwardShape {
  int64_t batch = 1;                  // images; twice as many with guidance
  int64_t height = 512, width = 512;  // pixels
  int64_t text_tokens = 77;
  int64_t vae_scale_factor = 8;   // pixels a latent each way
  int64_t steps = 1;              // of the walk; FLUX keeps the modulations of several at once
  bool encodes_pictures = false;  // a VAE makes latents of pictures too
};

/// One call of a model.
struct Forward {
  std::function<void()> run;
  double rare_runs = 1;  // of what is used once for many calls, in each of them
};

/// What a model does in a pipeline, in the order in which they run.
enum class Role { encoder, denoiser, decoder, checker };

/// A class of models, declared once, beside its code: a *_class.cpp in its folder. Nobody else names
/// it but the families that use it.
struct ModelClass {
  const char* name;            // of diffusers or transformers
  const std::type_info* type;  // of the C++ class
  Role role;
  bool reads_long_texts = false;  // max_sequence_length tokens, not CLIP's 77
  bool reads_pictures = false;    // an encoder of the pictures of IP-Adapters
  bool is_guided = false;         // a denoiser that usually runs for two texts an image
  /// Other classes and "model_type"s of config.json files that stand for it.
  std::span<const char*const> also = {}, model_types = {};
  /// Classes of blocks that stay whole on one device: the libraries' _no_split_modules.
  std::span<const char* const> no_split_modules = {};
  /// Classes of modules in blocks that are used once for many steps.
  std::span<const char* const> rare_modules = {};
  /// Its modules in the order of diffusers' or transformers' named_children.
  std::span<const ModuleRow> modules = {};
  /// The model that `config` describes.
  std::shared_ptr<const void> (*build)(const ConfigReader& config, const weights::WeightScope& weights);
  /// One call of it, on tensors without data.
  Forward (*forward)(const ConfigReader& config, const weights::WeightScope& weights,
                     const ForwardShape& shape);
  // Null where a class has none of it.
  SampleSize (*sample_size)(const ConfigReader& config) = nullptr;  // that a denoiser was trained for
  int64_t (*scale_factor)(const ConfigReader& config) = nullptr;    // pixels a latent, of a decoder
  bool (*force_upcast)(const ConfigReader& config) = nullptr;       // asks for float32 in place of float16
  void (*complete)(placement::ModuleTree& tree, const ConfigReader& config) = nullptr;  // what no file holds
  weights::OriginalNames* original_names = nullptr;  // of its tensors, in files of the model's authors
};

/// The class that a config.json names: diffusers' "_class_name", the first of transformers' "architectures",
/// or the one for its "model_type". Throws CheckpointError when it names none.
std::string class_name_of(const ConfigReader& config);

/// Throws CheckpointError naming `source` for a class that diffract does not build.
const ModelClass& find_model_class(const std::string& name, const std::string& source);
/// Null for a class that diffract does not build.
const ModelClass* find_model_class(std::string_view name);
std::span<const ModelClass* const> model_classes();

/// ModelClass::build of a class whose constructor says all.
template <typename Model>
std::shared_ptr<const void> build(const ConfigReader& config, const weights::WeightScope& w) {
  return std::make_shared<const Model>(Model::Config::from_json(config), w);
}

}  // namespace diffract::models
