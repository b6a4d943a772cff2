#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/models/model_class.h"
#include "diffract/placement/pipeline_map.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/tensor/dtype.h"

namespace diffract::loading {

/// What a request's pictures are for; control pictures may come to each.
enum class TaskKind { text_to_image, image_to_image, inpainting };

/// One of diffusers' pipeline classes over a family's parts: a task, and what it takes.
struct TaskClass {
  std::string_view class_name;
  TaskKind kind;
  /// Fields of a request that have an effect, beside those that every class takes
  /// (pipelines/request_checks.h); the others are refused.
  std::span<const std::string_view> takes;
  double strength = 1;                        // diffusers' default
  std::optional<double> guidance_scale = {};  // diffusers' default, where it is not the family's
  /// Pictures come out in the size of those that go in; height and width are not taken.
  bool keeps_picture_size = false;
  /// Its ControlNets follow control pictures. A size that is not given is the picture's, or the control
  /// picture's in text to image.
  bool is_controlled = false;
  double controlnet_conditioning_scale = 1;  // diffusers' default
};

/// What a LoRA's keys begin with, and whose they are then: {"lora_te_", "text_encoder"}. An empty prefix
/// stands for keys that have none.
struct LoraPrefix {
  std::string_view prefix, component;
};

/// A module of the model that gets `count` of `of` equal shares of the rows that a LoRA has for one of its
/// own modules, from share `first` on: an original checkpoint's "qkv" is three modules of diffusers'.
struct LoraShare {
  std::string module;
  int64_t first = 0, count = 1, of = 1;
};
/// The modules that stand for one of the denoiser as a LoRA names it, with "_" for "."; none: it is named as
/// in the model. `denoiser`: its config.
using LoraShares = std::vector<LoraShare>(const std::string& module, const ConfigReader& denoiser);

/// A text encoder whose vocabulary a textual inversion grows, and the key of its vectors in a file that has
/// those of several.
struct TextualInversionPlace {
  std::string_view text_encoder, key;
};

/// What the keys of a component begin with in a single file of the family; of several the first that is there
/// counts.
struct SingleFilePart {
  std::string_view component, prefix;
};

/// A kind of single files, told by their keys: those of a text encoder, or where there is none the width that
/// the denoiser reads, and the channels that it takes.
struct SingleFileKind {
  std::string_view name;          // for messages: "Stable Diffusion 1.x for inpainting"
  std::string_view text_encoder;  // what its keys begin with
  uint64_t text_width, channels;
  std::string_view repository;  // on the hub, whose configs and tokenizers go with it, as in diffusers
};

/// What a checkpoint family is, as data: the planner, the checks of requests, messages and --help read it. A
/// family's folder holds it (families/), and families/registry.cpp lists it.
struct FamilyFacts {
  std::string_view class_name;  // diffusers' pipeline, as model_index.json names it
  std::string_view models;      // for messages: "Stable Diffusion 1.x and 2.x"
  /// Other pipelines of diffusers over the same parts, whose checkpoints are run as these.
  std::span<const std::string_view> runs_too;
  std::string_view denoiser, denoiser_class;  // the component that runs in each step: "unet"
  // diffusers' own, where the checkpoint does not say.
  int64_t num_inference_steps;
  double guidance_scale;
  int64_t sample_size;  // latents each way, where the denoiser's config has no sample_size
  /// Sizes are multiples of the VAE's scale times this: others are an error, or, above 1, rounded down.
  int64_t latents_a_token;
  /// Whether the components come and go with their stage.
  placement::Lifetime lifetime;
  schedulers::Path path;       // which schedulers fit
  std::string_view scheduler;  // what to take where the checkpoint's is one that diffract has not
  /// As TaskClass::takes, of text to image.
  std::span<const std::string_view> takes;
  std::span<const TaskClass> tasks = {};  // beside text to image
  bool has_previews = false;              // Pipeline::preview
  bool has_float8 = false;                // products of the denoiser in float8
  /// A model whose config says "force_upcast" is computed in float32 where float16 is asked for.
  bool heeds_force_upcast = false;
  std::span<const LoraPrefix> lora_prefixes = {};  // none: the family takes no LoRA
  LoraShares* lora_shares = nullptr;               // null: LoRAs name all modules as the model does
  /// Text encoders that take textual inversions; none: none do.
  std::span<const TextualInversionPlace> textual_inversion = {};
  std::string_view controlnet_class = {};  // of the ControlNets that it takes; empty: it takes none
  bool takes_ip_adapters = false;
  bool has_safety_checker = false;  // a checkpoint's is run
  /// None: the family has no single files.
  std::span<const SingleFilePart> single_file_parts = {};
  std::span<const SingleFileKind> single_file_kinds = {};

  /// The class of text to image.
  TaskClass text_to_image() const {
    return {.class_name = class_name, .kind = TaskKind::text_to_image, .takes = takes};
  }
  /// The class of this name, or none.
  std::optional<TaskClass> task_class(std::string_view name) const {
    if (name == class_name) return text_to_image();
    for (const TaskClass& one : tasks)
      if (one.class_name == name) return one;
    return std::nullopt;
  }
};

/// What a family's model is computed in. `facts`: null for a model that is nobody's.
tensor::DtypePolicy policy_of(const FamilyFacts* facts, const models::ModelClass& model_class,
                              const ConfigReader& config, tensor::DtypePolicy policy);

}  // namespace diffract::loading
