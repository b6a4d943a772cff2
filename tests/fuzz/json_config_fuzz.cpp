#include <cstdint>
#include <string>

#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/io/model_folder.h"
#include "diffract/io/weight_files.h"

namespace {

template <typename Call>
void quietly(Call&& call) {
  try {
    call();
  } catch (const diffract::Error&) {
  }
}

}  // namespace

// Any text as a config, a model_index.json and an index of shards: errors of ours, or values within their
// ranges.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  diffract::Json json;
  try {
    json = diffract::parse_json(text, "fuzz");
  } catch (const diffract::Error&) {
    return 0;
  }
  quietly([&] { diffract::io::ModelFolder::parse(text, "fuzz"); });
  quietly([&] {
    for (const auto& [tensor, shard] : diffract::io::parse_shard_index(json, "fuzz"))
      if (shard.find('/') != std::string::npos) __builtin_trap();
  });
  quietly([&] {
    const diffract::ConfigReader config(json, "fuzz");
    for (const auto& [key, value] : config.json().items()) {
      const char* name = key.c_str();
      quietly([&] {
        if (const int64_t n = config.integer(name, -5, 1000); n < -5 || n > 1000) __builtin_trap();
      });
      quietly([&] { config.integers(name, 0, 1 << 20, 4); });
      quietly([&] { config.integers(name, 0, 1 << 20); });
      quietly([&] {
        if (!(config.number(name, 0, 1) <= 1)) __builtin_trap();
      });
      quietly([&] { config.boolean(name); });
      quietly([&] { config.booleans(name, 3, false); });
      quietly([&] { config.text(name); });
      quietly([&] { config.choice(name, {"a", "linear"}); });
      quietly([&] { config.numbers(name); });
      quietly([&] { config.texts(name); });
      quietly([&] { config.unsupported_unless(name, "default"); });
    }
  });
  return 0;
}
