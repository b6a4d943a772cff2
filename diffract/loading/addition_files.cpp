#include "diffract/loading/addition_files.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "diffract/core/error.h"
#include "diffract/io/hub_cache.h"
#include "diffract/io/model_identity.h"
#include "diffract/loading/image_encoder.h"

namespace diffract::loading {
namespace fs = std::filesystem;
namespace {

fs::path file_in(const fs::path& folder, const char* option, const char* usual) {
  std::error_code ignored;
  if (fs::is_regular_file(folder / usual, ignored)) return folder / usual;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored))
    if (entry->path().extension() == ".safetensors") files.push_back(entry->path());
  if (files.size() == 1) return files.front();
  std::sort(files.begin(), files.end());
  if (files.empty())
    throw CheckpointError("{}: {} has no safetensors file; expected {}", option, folder.string(), usual);
  throw CheckpointError("{}: {} has {} safetensors files, {} among them, and no {}; name the file", option,
                        folder.string(), files.size(), files.front().filename().string(), usual);
}

// The text before and behind the last "=", or all of it.
std::pair<std::string, std::string> split_last(const std::string& text) {
  const size_t at = text.rfind('=');
  if (at == std::string::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
}

std::optional<double> number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

Json identity(const std::string& path, const char* option, const char* usual) {
  return io::to_json(io::identify_file(find_addition_file(path, option, usual)));
}

}  // namespace

fs::path find_addition_file(const std::string& path, const char* option, const char* usual) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return file_in(path, option, usual);
  if (fs::exists(path, ignored)) return path;
  if (!path.ends_with(".safetensors") && io::is_hub_name(path))
    return file_in(io::find_snapshot(path, io::Wanted::first_look), option, usual);
  throw UsageError("{} {}: there is no such file or folder", option, path);
}

LoraOption parse_lora(const std::string& text) {
  constexpr double kMost = 1000;
  auto [path, weight] = split_last(text);
  const auto value = number(weight);
  if (!value) return {.path = text};
  if (!(std::abs(*value) <= kMost))
    throw UsageError("--lora {}: weight {}: expected -{} to {}", path, weight, kMost, kMost);
  return {.path = path, .weight = *value};
}

TextualInversionOption parse_textual_inversion(const std::string& text) {
  std::error_code ignored;
  if (fs::exists(text, ignored)) return {.path = text};  // a name with "="
  auto [path, token] = split_last(text);
  return {.path = path, .token = token};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

Json lora_parameters(const std::string& lines) {
  Json all = Json::array();
  for (const std::string& line : lines_of(lines)) {
    const LoraOption option = parse_lora(line);
    Json one = identity(option.path, "--lora", kLoraFile);
    one["weight"] = option.weight;
    all.push_back(std::move(one));
  }
  return all;
}

Json ip_adapter_parameters(const std::string& lines) {
  Json all = Json::array();
  for (const std::string& line : lines_of(lines)) {
    Json one = identity(line, "--ip-adapter", kIpAdapterFile);
    // One that lies beside the file may be what makes the embeddings.
    const fs::path encoder =
        find_addition_file(line, "--ip-adapter", kIpAdapterFile).parent_path() / kImageEncoder;
    std::error_code ignored;
    if (fs::is_directory(encoder, ignored)) one[kImageEncoder] = io::to_json(io::identify_component(encoder));
    all.push_back(std::move(one));
  }
  return all;
}

Json textual_inversion_parameters(const std::string& lines) {
  Json all = Json::array();
  for (const std::string& line : lines_of(lines)) {
    const TextualInversionOption option = parse_textual_inversion(line);
    Json one = identity(option.path, "--textual-inversion", kEmbeddingFile);
    if (!option.token.empty()) one["token"] = option.token;
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace diffract::loading
