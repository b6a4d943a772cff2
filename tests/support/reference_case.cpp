#include "tests/support/reference_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <stdexcept>

#include "diffract/pipelines/request_fields.h"
#include "tests/support/temp_folder.h"

namespace diffract::test {
namespace {

std::vector<std::string> one_or_many(const Json& value) {
  if (value.is_array()) return value.get<std::vector<std::string>>();
  return {value.get<std::string>()};
}

// A checkpoint that shares its files with another one, and has some of reference/parts as its components.
std::shared_ptr<const TempFolder> with_parts(const std::filesystem::path& checkpoint, const Json& parts) {
  namespace fs = std::filesystem;
  static const std::map<std::string, Json> kClasses = {
      {"safety_checker", {"stable_diffusion", "StableDiffusionSafetyChecker"}},
      {"feature_extractor", {"transformers", "CLIPImageProcessor"}}};
  auto whole = std::make_shared<const TempFolder>();
  Json index = load_json(checkpoint / "model_index.json");
  for (const auto& entry : fs::directory_iterator(checkpoint))
    if (entry.is_directory())
      fs::create_directory_symlink(entry.path(), whole->path() / entry.path().filename());
  for (const auto& name : parts) {
    index[name] = kClasses.at(name);
    fs::create_directory_symlink(data("reference/parts/" + name.get<std::string>()), *whole / name);
  }
  whole->file("model_index.json", index.dump());
  return whole;
}

}  // namespace

ReferenceCase::ReferenceCase(const std::string& name)
    : folder_(data("reference/" + name)),
      json_(load_json(folder_ / "case.json")),
      expected_(io::SafetensorsFile::open(folder_ / "expected.safetensors")) {
  if (json_.contains("parts")) whole_ = with_parts(checkpoint(), json_["parts"]);
}

std::filesystem::path ReferenceCase::checkpoint() const {
  return whole_ ? whole_->path() : data("reference/checkpoints/" + json_["checkpoint"].get<std::string>());
}

std::filesystem::path ReferenceCase::model() const {
  const std::string file = json_.value("single_file", "");
  return file.empty() ? checkpoint() : data("reference/" + file);
}

loading::LoadOptions ReferenceCase::load_options() const {
  loading::LoadOptions options{.torch_dtype = at::kFloat, .variant = json_.value("variant", "")};
  if (json_.contains("single_file")) options.config = checkpoint().string();
  if (json_.contains("vae"))
    options.components["vae"] = data("reference/checkpoints/" + json_["vae"].get<std::string>()).string();
  const auto file = [](const Json& added) {
    return data("reference/" + added["file"].get<std::string>()).string();
  };
  for (const Json& lora : json_.value("lora", Json::array()))
    options.lora.push_back({.path = file(lora), .weight = lora.value("weight", 1.0)});
  for (const std::string& net : one_or_many(json_.value("controlnet", Json::array())))
    options.controlnet.push_back(data("reference/checkpoints/" + net).string());
  for (const Json& embedding : json_.value("textual_inversion", Json::array()))
    options.textual_inversion.push_back({.path = file(embedding), .token = embedding.value("token", "")});
  for (const Json& adapter : ip_adapters())
    options.ip_adapter.push_back(
        {.path = file(adapter),
         .image_encoder =
             data("reference/checkpoints/" + adapter["image_encoder"].get<std::string>()).string()});
  return options;
}

Json ReferenceCase::ip_adapters() const {
  const Json given = json_.value("ip_adapter", Json::array());
  return given.is_array() ? given : Json::array({given});
}

families::DiffusionPipeline ReferenceCase::load(const std::optional<loading::LoadOptions>& options) const {
  auto pipeline =
      families::DiffusionPipeline::from_pretrained(model().string(), options.value_or(load_options()));
  set_scheduler(pipeline);
  return pipeline;
}

void ReferenceCase::set_scheduler(families::DiffusionPipeline& pipeline) const {
  if (json_.contains("scheduler"))
    pipeline.set_scheduler(json_["scheduler"]["class"], json_["scheduler"].value("config", Json::object()));
}

pipelines::Request ReferenceCase::request() const {
  pipelines::Request request{.seed = json_["seed"].get<uint64_t>()};
  const auto set = [&](const std::string& key, const Json& value) {
    pipelines::request_field(key).set(request, value, folder_.string(), key.c_str());
  };
  for (const auto& [key, value] : json_["call"].items()) set(key, value);
  for (const Json& adapter : ip_adapters())
    request.ip_adapter_scale.push_back(adapter["scale"].get<double>());
  const Json inputs = json_.value("inputs", Json::object());
  for (const auto& [key, value] : inputs.items()) {
    Json files = Json::array();
    for (const std::string& file : one_or_many(value)) files.push_back(data("reference/" + file).string());
    set(key, files);
  }
  return request;
}

at::Tensor ReferenceCase::tensor(const std::string& name) const { return load_tensor(*expected_, name); }

size_t ReferenceCase::step_count() const {
  size_t count = 0;
  while (has(fmt::format("latents_{:03}", count))) ++count;
  return count;
}

std::vector<std::string> reference_cases(const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(data("reference"))) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && std::filesystem::exists(entry.path() / "case.json"))
      names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  if (found.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const double largest = std::max(1e-6, expected.abs().max().item<double>());
  const double worst = (found.to(at::kFloat) - expected).abs().max().item<double>();
  return std::isnan(worst) ? std::numeric_limits<double>::infinity() : worst / largest;
}

at::Tensor load_tensor(const io::SafetensorsFile& file, const std::string& name) {
  const auto* info = file.find(name);
  if (!info || info->dtype != io::Dtype::F32) throw std::runtime_error("no float32 tensor " + name);
  const auto bytes = file.bytes(*info);
  const std::vector<int64_t> shape(info->shape.begin(), info->shape.end());
  at::Tensor tensor = at::empty(shape, at::kFloat);
  std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(tensor.data_ptr()));
  return tensor;
}

}  // namespace diffract::test
