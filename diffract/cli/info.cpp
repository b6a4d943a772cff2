#include <fmt/format.h>
#include <cstdio>
#include <functional>
#include <map>

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/json_output.h"
#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/core/size_text.h"
#include "diffract/core/utf8.h"
#include "diffract/families/registry.h"
#include "diffract/io/model_folder.h"
#include "diffract/io/png.h"
#include "diffract/io/safetensors.h"
#include "diffract/loading/find_model.h"
#include "diffract/loading/ip_adapter.h"
#include "diffract/loading/single_file.h"
#include "diffract/models/model_class.h"
#include "diffract/weights/lora_file.h"

namespace diffract::cli {
namespace fs = std::filesystem;
namespace {

struct InfoOptions {
  std::string target, variant;
  bool json = false;
};

Json shape_of(const io::TensorInfo& tensor) { return Json(tensor.shape); }

Json describe_safetensors(const fs::path& path) {
  const auto file = io::SafetensorsFile::open(path);
  Json tensors = Json::array();
  for (const auto& tensor : file->tensors())
    tensors.push_back(
        {{"name", tensor.name}, {"dtype", io::dtype_name(tensor.dtype)}, {"shape", shape_of(tensor)}});
  Json info = {{"file", path.string()}, {"metadata", file->metadata()}, {"tensors", tensors}};
  if (auto checkpoint = loading::describe_single_file(*file, families::all_facts()))
    info["checkpoint"] = *std::move(checkpoint);
  try {
    if (const auto lora = weights::describe_lora(path)) info["lora"] = *lora;
  } catch (const Error& error) {  // its tensors are shown all the same
    info["lora"] = {{"problem", error.what()}};
  }
  try {
    if (const auto adapter = loading::describe_ip_adapter(path)) info["ip_adapter"] = *adapter;
  } catch (const Error& error) {
    info["ip_adapter"] = {{"problem", error.what()}};
  }
  return info;
}

void print_ip_adapter(const Json& adapter) {
  if (adapter.contains("problem")) {
    fmt::print("IP-Adapter that cannot be used: {}\n", adapter["problem"].get<std::string>());
    return;
  }
  fmt::print("IP-Adapter ({}): {} tokens of width {} from embeddings of width {}, {} attentions\n",
             adapter["form"].get<std::string>(), adapter["tokens"].get<int64_t>(),
             adapter["cross_attention_dim"].get<int64_t>(), adapter["image_embed_dim"].get<int64_t>(),
             adapter["attentions"].get<size_t>());
}

void print_lora(const Json& lora) {
  if (lora.contains("problem")) {
    fmt::print("LoRA that cannot be used: {}\n", lora["problem"].get<std::string>());
    return;
  }
  fmt::print("LoRA ({}): {} modules, ranks {}{}{}\n", lora["format"].get<std::string>(),
             lora["modules"].get<size_t>(), lora["ranks"].dump(),
             lora["convolutions"] == true ? ", convolutions too" : "", lora["dora"] == true ? ", DoRA" : "");
}

void print_weights(const Json& part) {
  if (part.contains("bytes")) {
    std::string dtypes;
    for (const auto& [dtype, count] : part["dtypes"].items()) dtypes += " " + dtype;
    fmt::print(" {:>10.2f} M parameters {:>10} {} files:{}", part["parameters"].get<double>() / 1e6,
               size_text(part["bytes"].get<int64_t>()), part["files"].get<int>(), dtypes);
  }
  if (part.contains("problem")) fmt::print(" {}", part["problem"].get<std::string>());
  fmt::print("\n");
}

void print_checkpoint(const Json& checkpoint) {
  fmt::print("{}, a single file; configs and tokenizers: {}\n", checkpoint["kind"].get<std::string>(),
             checkpoint["config"].get<std::string>());
  for (const auto& [name, part] : checkpoint["components"].items()) {
    fmt::print("  {:<18}", name);
    print_weights(part);
  }
  if (const auto others = checkpoint["left_out"].get<size_t>(); others > 0)
    fmt::print("  {} other tensors, which are not read\n", others);
}

void print_safetensors(const Json& info) {
  constexpr size_t kMostBytes = 200;  // some hold pictures
  if (info.contains("lora")) print_lora(info["lora"]);
  if (info.contains("ip_adapter")) print_ip_adapter(info["ip_adapter"]);
  if (info.contains("checkpoint")) print_checkpoint(info["checkpoint"]);
  for (const auto& [key, value] : info["metadata"].items())
    fmt::print("{}: {}\n", valid_text(key), shortened(valid_text(value.get<std::string>()), kMostBytes));
  for (const Json& tensor : info["tensors"])
    fmt::print("{:<6} {:<24} {}\n", tensor["dtype"].get<std::string>(), tensor["shape"].dump(),
               tensor["name"].get<std::string>());
}

Json describe_png(const fs::path& path) {
  const auto png = io::load_png(path);
  Json texts = Json::object();
  for (const auto& text : png.texts) texts[text.key] = text.value;
  return {{"file", path.string()}, {"width", png.image.width}, {"height", png.image.height}, {"text", texts}};
}

void print_png(const Json& info) {
  fmt::print("{}x{}\n", info["width"].get<int64_t>(), info["height"].get<int64_t>());
  for (const auto& [key, value] : info["text"].items())
    fmt::print("{}:\n{}\n", key, valid_text(value.get<std::string>()));
}

// Parameters, bytes and types of a model's weights.
Json describe_weights(const io::WeightFiles& files) {
  uint64_t parameters = 0, bytes = 0;
  std::map<std::string, uint64_t> by_dtype;
  for (const auto& [name, weight] : io::open_weight_files(files)) {
    const uint64_t size = weight.size(), elements = weight.elements();
    parameters += elements;
    bytes += size;
    by_dtype[std::string(io::dtype_name(weight.info->dtype))] += elements;
  }
  return {{"parameters", parameters}, {"bytes", bytes}, {"files", files.files.size()}, {"dtypes", by_dtype}};
}

// What keeps one part from being described keeps none of the others from it.
void add_weights(Json& part, const std::function<io::WeightFiles()>& find) {
  try {
    part.update(describe_weights(find()));
  } catch (const Error& error) {
    part["problem"] = error.what();
  }
}

bool is_single_model(const fs::path& folder) {
  std::error_code ignored;
  return !fs::exists(folder / "model_index.json", ignored) && fs::exists(folder / "config.json", ignored);
}

Json describe_model(const fs::path& path, const std::string& variant) {
  const fs::path file = path / "config.json";
  Json model = {{"folder", path.string()},
                {"class", models::class_name_of(ConfigReader(load_json(file), file.string()))}};
  add_weights(model, [&] { return io::find_weight_files(path, variant); });
  return model;
}

void print_model(const Json& info) {
  fmt::print("{}\n{:<30}", info["folder"].get<std::string>(), info["class"].get<std::string>());
  print_weights(info);
}

bool may_have_weights(const std::string& class_name) {
  const auto is_a = [&](const char* kind) { return class_name.find(kind) != std::string::npos; };
  return !is_a("Tokenizer") && !is_a("Scheduler") && !is_a("Processor") && !is_a("FeatureExtractor");
}

Json describe_folder(const fs::path& path, const std::string& variant) {
  const auto folder = io::ModelFolder::open(path);
  Json components = Json::object();
  for (const std::string& name : folder.component_names()) {
    Json part = {{"class", folder.component_class(name)}};
    if (may_have_weights(folder.component_class(name)))
      add_weights(part, [&] { return folder.component_weights(name, variant); });
    components[name] = part;
  }
  return {{"folder", path.string()},
          {"class", folder.class_name()},
          {"is_run", families::find_family(folder.class_name()) != nullptr},
          {"components", components}};
}

void print_folder(const Json& info) {
  fmt::print("{}\n{}{}\n\n", info["folder"].get<std::string>(), info["class"].get<std::string>(),
             info["is_run"].get<bool>() ? "" : "  (diffract does not run it yet: docs/differences.md)");
  for (const auto& [name, part] : info["components"].items()) {
    fmt::print("  {:<18} {:<30}", name, part["class"].get<std::string>());
    print_weights(part);
  }
}

void info(const InfoOptions& options) {
  const fs::path target = options.target;
  Json result;
  void (*print)(const Json&) = nullptr;
  std::error_code no_file;  // find_model says what is wrong
  const bool is_file = fs::is_regular_file(target, no_file);
  if (is_file && io::has_suffix(target, ".png")) {
    result = describe_png(target);
    print = print_png;
  } else if (is_file) {
    if (const std::string why = loading::why_not_safetensors(options.target); !why.empty())
      throw CheckpointError("{} {}", options.target, why);
    result = describe_safetensors(target);
    print = print_safetensors;
  } else {
    const fs::path folder = loading::find_model(options.target);
    const bool single = is_single_model(folder);
    result = single ? describe_model(folder, options.variant) : describe_folder(folder, options.variant);
    print = single ? print_model : print_folder;
  }
  if (options.json)
    print_json(result, 2);
  else
    print(result);
}

}  // namespace

Command info_command() {
  return {
      .name = "info",
      .summary =
          "describes a model's or a pipeline's folder, a safetensors file, or a picture that diffract made",
      .declare = [](CLI::App& app) -> std::function<void()> {
        auto options = std::make_shared<InfoOptions>();
        add_path(app, "target", options->target, "Folder, model name, FILE.safetensors or FILE.png")
            ->required();
        app.add_option("--variant", options->variant, "Weight files' variant, e.g. fp16");
        app.add_flag("--json", options->json, "One JSON object on stdout");
        app.footer("Example:\n  diffract info emoji-sd");
        return [options] { info(*options); };
      }};
}

}  // namespace diffract::cli
