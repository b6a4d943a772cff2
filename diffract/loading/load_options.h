#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/loading/device_map_argument.h"
#include "diffract/loading/memory_check.h"
#include "diffract/placement/max_memory.h"
#include "diffract/tensor/dtype.h"

namespace diffract::loading {

/// How far a model's loading has come.
struct LoadReport {
  std::string component;  // e.g. "transformer"
  uint64_t bytes, total_bytes;
};
using LoadObserver = std::function<void(const LoadReport&)>;

/// What is known of the requests to come, so that a device map leaves room to compute them.
struct ExpectedRequest {
  std::optional<int64_t> height, width;  // pixels; unset: the model's default
  int64_t batch_size = 1;                // pictures computed together
  std::optional<int64_t> max_sequence_length;
  std::optional<int64_t> num_inference_steps = {};  // how much more often the denoiser runs than the rest
  bool encodes_pictures = false;                    // some begin with a picture
};

/// A LoRA, added to the weights of the components that its keys name.
struct LoraOption {
  std::string path;  // a safetensors file, a folder, or ORG/NAME[@REV]
  double weight = 1;
  std::string adapter_name = {};  // in messages
};

/// An embedding that stands for a token of the prompts.
struct TextualInversionOption {
  std::string path;        // as of a LoRA
  std::string token = {};  // empty: the file's own
};

/// An IP-Adapter: pictures that are a part of the prompt.
struct IpAdapterOption {
  std::string path;                // as of a LoRA
  std::string image_encoder = {};  // a folder, or ORG/NAME[@REV]; empty: the checkpoint's, or one beside it
};

/// How a checkpoint is loaded; the fields are from_pretrained's arguments.
struct LoadOptions {
  std::optional<at::ScalarType> torch_dtype;  // storage of the weights; unset: as the files have them
  std::optional<at::ScalarType> arithmetic;   // unset: chosen from what the device does fast
  // Large products of FLUX's transformer in float8; without torch_dtype that is bfloat16 then. Throws
  // UsageError for other models and dtypes, for devices without float8, and with a device map.
  bool float8 = false;
  // tensor::DeviceBackend::allow_tf32, which is the whole process's, before anything is loaded. Throws
  // UsageError where no device that is used has TF32.
  bool allow_tf32 = false;
  std::string variant;  // e.g. "fp16": files named model.fp16.safetensors
  // The folder of configs and tokenizers for a model that is a single file, or ORG/NAME; empty: told by its
  // keys
  std::string config = {};
  // Files or folders in place of the checkpoint's own, by component: {"vae", "vae-ft-mse.safetensors"}.
  std::map<std::string, std::string> components = {};
  // A VAE's folder, or ORG/NAME, for Pipeline::preview in place of the pipeline's own; TAESD is quick.
  std::string preview_vae = {};
  at::Device device = at::kCPU;
  DeviceMapArgument device_map = {};     // where which model, or part of one, is kept
  placement::MaxMemory max_memory = {};  // budgets, which are hard limits; alone they mean "auto"
  std::string offload_folder = {};       // for weights on disk in another dtype than the files have
  ExpectedRequest expected = {};
  MemoryCheck memory_check = {};      // requests that take more memory than there is throw MemoryError
  std::vector<LoraOption> lora = {};  // load_lora_weights and set_adapters; the order counts with DoRA only
  std::vector<TextualInversionOption> textual_inversion = {};  // load_textual_inversion
  std::vector<IpAdapterOption> ip_adapter = {};                // load_ip_adapter
  // False: a checkpoint's safety checker is left out; its pictures are not looked at.
  bool safety_checker = true;
  // ControlNetModel.from_pretrained: folders, or ORG/NAME[@REV]; several are a MultiControlNetModel.
  std::vector<std::string> controlnet = {};
  // Called for each tensor of a model that is loaded, now or when its stage begins. It may ask stays(); a
  // picture drawn from in it would wait for itself.
  LoadObserver on_load = {};
  // Another scheduler than the checkpoint's, and keys of its config, as DiffusionPipeline::set_scheduler
  // takes them; they are checked before any weights are read.
  std::string scheduler = {};
  Json scheduler_config = Json::object();
  // No other scheduler will be set: a checkpoint's that diffract has not is an error before weights are read.
  bool requires_scheduler = false;
};

struct ImageSize {
  int64_t height, width;
};

/// What a pipeline fills in where a request leaves it open.
struct Defaults {
  ImageSize size;
  int64_t num_inference_steps;
  double guidance_scale;
};

}  // namespace diffract::loading
