#pragma once
#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "diffract/core/json.h"
#include "diffract/io/model_identity.h"
#include "diffract/pipelines/component_stay.h"
#include "diffract/pipelines/device_map_argument.h"
#include "diffract/pipelines/memory_check.h"
#include "diffract/pipelines/request.h"
#include "diffract/placement/max_memory.h"
#include "diffract/tensor/dtype.h"

namespace diffract::pipelines {

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
  at::Device device = at::kCPU;
  DeviceMapArgument device_map = {};     // where which model, or part of one, is kept
  placement::MaxMemory max_memory = {};  // budgets, which are hard limits; alone they mean "auto"
  std::string offload_folder = {};       // for weights on disk in another dtype than the files have
  ExpectedRequest expected = {};
  MemoryCheck memory_check = {};  // requests that take more memory than there is throw MemoryError
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

/// A scheduler's class and the keys of its config; the schedule itself is made for each request.
struct SchedulerSpec {
  std::string class_name;
  Json config = Json::object();
  /// Keys of the config that its file does not have: another scheduler made from it has its own defaults.
  std::vector<std::string> not_in_file = {};
  std::string source;  // names the config in messages
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

/// The interface of a checkpoint family's pipeline. Calls are const: one pipeline may serve many requests.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  /// generate() without autograd, with libtorch's out-of-memory errors as MemoryError. At the end flush(),
  /// but an accelerator's free blocks stay for the next request where a pipeline of stages keeps all its
  /// models.
  Output operator()(const Request& request, const StepObserver& observe = {}) const;
  virtual Output generate(const Request& request, const StepObserver& observe) const = 0;
  virtual Defaults defaults() const = 0;
  virtual const SchedulerSpec& scheduler() const = 0;
  /// Throws UsageError for a scheduler that the pipeline cannot use, CheckpointError for a bad config.
  virtual void set_scheduler(SchedulerSpec scheduler) = 0;
  /// Throws CheckpointError while the scheduler is one of a checkpoint's that cannot be used.
  virtual void require_scheduler() const = 0;
  /// The size of the pictures that a request gives. Throws UsageError for one that the model has not.
  virtual ImageSize image_size(const Request& request) const = 0;
  /// Where which model, or part of one, is kept, as accelerate prints it; empty without a device map.
  virtual const placement::DeviceMap& hf_device_map() const = 0;
  /// How the weights of the components that were used are in memory between requests.
  virtual std::vector<ComponentStay> stays() const = 0;

 protected:
  /// At the end of a request, also of one that fails.
  virtual void give_back() const;
};

/// Any pipeline, as `DiffusionPipeline.from_pretrained` gives it: the class that the checkpoint's
/// model_index.json names. A handle: copies share the loaded models.
class DiffusionPipeline {
 public:
  /// Loads a built-in model by name ("emoji-sd"), a folder, or ORG/NAME[@REV] from the Hugging Face cache.
  /// Throws CheckpointError when it is damaged, missing or of a class that diffract has no pipeline for.
  static DiffusionPipeline from_pretrained(const std::string& model, const LoadOptions& options = {});

  explicit DiffusionPipeline(std::shared_ptr<Pipeline> pipeline, io::ModelIdentity model = {})
      : pipeline_(std::move(pipeline)), model_(std::move(model)) {}

  /// Makes the pictures of a request. Throws UsageError for a request that does not fit the model,
  /// MemoryError when memory runs out, Cancelled when `observe` says so.
  Output operator()(const Request& request, const StepObserver& observe = {}) const;
  /// One picture of a prompt, with the defaults of the model.
  template <std::convertible_to<std::string> Text>
  Output operator()(const Text& prompt) const {
    return (*this)(Request{.prompt = {prompt}});
  }

  /// Which model it was loaded from.
  const io::ModelIdentity& model() const { return model_; }
  Defaults defaults() const { return pipeline_->defaults(); }
  const SchedulerSpec& scheduler() const { return pipeline_->scheduler(); }
  ImageSize image_size(const Request& request) const { return pipeline_->image_size(request); }
  const placement::DeviceMap& hf_device_map() const { return pipeline_->hf_device_map(); }
  std::vector<ComponentStay> stays() const { return pipeline_->stays(); }
  /// Another scheduler over the checkpoint's own config, as `Class.from_config(pipe.scheduler.config,
  /// **overrides)`.
  void set_scheduler(const std::string& class_name, const Json& overrides = Json::object());
  /// Throws CheckpointError where the checkpoint's scheduler is one that diffract has not, and no other was
  /// set; the first request would.
  void require_scheduler() const { pipeline_->require_scheduler(); }

 private:
  std::shared_ptr<Pipeline> pipeline_;
  io::ModelIdentity model_;
};

/// What a model is looked for, which decides what a message tells to fetch: a pipeline for pictures (one of a
/// class that diffract runs), its config files for a plan, or some part of it.
enum class ModelUse { pictures, configs, part };
/// The folder of a model: a built-in name, a path, or ORG/NAME[@REV]. Throws CheckpointError saying where it
/// looked, or what the text is instead: a single file, a web address, a misspelt name.
std::filesystem::path find_model(const std::string& model, ModelUse use = ModelUse::part);
/// The name of the model that is used when none is given.
inline constexpr const char* kDefaultModel = "emoji-sd";

}  // namespace diffract::pipelines
