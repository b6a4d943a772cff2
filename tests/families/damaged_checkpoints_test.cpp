// Checkpoints of all families whose files are damaged one at a time: each gives an error that names what is
// wrong, or, where the damage cannot be seen (a bit of a weight), an image; never a crash.
#include "diffract/io/safetensors.h"
#include "diffract/weights/save_tensors.h"
#include "tests/families/damages.h"
#include "tests/support/damaged_model.h"

namespace diffract::families {
namespace {

namespace fs = std::filesystem;

class DamagedCheckpoint : public test::DamagedModel,
                          public ::testing::WithParamInterface<test::DamagedFamily> {
 protected:
  DamagedCheckpoint() : DamagedModel(GetParam().checkpoint, GetParam().variant) {}
  // A tokenizer's files tell much twice.
  static bool is_needed(const std::string& file) { return !file.starts_with("tokenizer"); }
  static void flip(const fs::path& path, size_t byte, char bit) {
    std::string bytes = load_text(path, 1 << 24);
    bytes[byte] = static_cast<char>(bytes[byte] ^ bit);
    write(path, bytes);
  }
  // A file with one of its tensors replaced, or taken away where `replacement` is undefined.
  std::string with_tensor(const std::string& file, const std::string& name, const at::Tensor& replacement) {
    const auto sound = io::SafetensorsFile::open(model_ / file);
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const auto& info : sound->tensors()) {
      const std::vector<int64_t> shape(info.shape.begin(), info.shape.end());
      at::Tensor tensor = at::empty(shape, info.dtype == io::Dtype::F16 ? at::kHalf : at::kFloat);
      const auto bytes = sound->bytes(info);
      std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(tensor.data_ptr()));
      if (info.name != name) tensors.emplace_back(info.name, tensor);
    }
    if (replacement.defined()) tensors.emplace_back(name, replacement);
    return with_damage(file, [&](const fs::path& path) { weights::save_tensors(path, tensors); });
  }
};

TEST_P(DamagedCheckpoint, UndamagedGivesAnImage) { EXPECT_EQ(run(), ""); }

TEST_P(DamagedCheckpoint, NamesAFileThatIsCutShort) {
  for (const auto& extension : {".json", ".safetensors"})
    for (const auto& file : files(extension)) {
      const auto size = fs::file_size(model_ / file);
      for (const auto length : {uintmax_t{0}, uintmax_t{1}, size / 4, size / 2, size - 3}) {
        const auto message = with_damage(file, [&](const fs::path& path) { fs::resize_file(path, length); });
        if (is_needed(file)) expect_named(message, file);
      }
    }
  EXPECT_GE(cases_, 60u);
}

TEST_P(DamagedCheckpoint, NamesATokenizerThatIsCutShort) {
  for (const auto& file : files(".json")) {
    if (!file.ends_with("/tokenizer.json") && !file.ends_with("/tokenizer_config.json")) continue;
    for (const size_t part : {1u, 3u, 5u, 7u, 9u})
      expect_named(
          with_damage(file,
                      [&](const fs::path& path) { fs::resize_file(path, fs::file_size(path) * part / 10); }),
          file);
  }
}

TEST_P(DamagedCheckpoint, SurvivesFlippedBitsOfHeadersAndConfigs) {
  for (const auto& file : files(".safetensors"))
    for (const size_t byte : {0u, 1u, 3u, 7u, 8u, 9u, 20u, 45u, 60u, 100u, 333u, 1000u})
      with_damage(file, [&](const fs::path& path) { flip(path, byte, 0x10); });
  for (const auto& file : files(".json"))
    for (size_t i = 0; i < 10; ++i)
      with_damage(file,
                  [&](const fs::path& path) { flip(path, fs::file_size(path) * (2 * i + 1) / 20, 0x08); });
  EXPECT_GE(cases_, 100u);
}

TEST_P(DamagedCheckpoint, NamesAFileThatIsMissing) {
  for (const auto& extension : {".json", ".safetensors"})
    for (const auto& file : files(extension)) {
      const auto message = with_damage(file, [](const fs::path& path) { fs::remove(path); });
      if (is_needed(file)) expect_named(message, file);
    }
}

TEST_P(DamagedCheckpoint, NamesAFolderInAFilesPlace) {
  for (const auto& file : files(".safetensors"))
    expect_named(with_damage(file,
                             [](const fs::path& path) {
                               fs::remove(path);
                               fs::create_directory(path);
                             }),
                 file);
}

TEST_P(DamagedCheckpoint, NamesATensorOfAnotherShapeOrType) {
  for (const auto& file : files(".safetensors")) {
    const auto sound = io::SafetensorsFile::open(model_ / file);
    const std::string name = sound->tensors()[sound->tensors().size() / 2].name;
    for (const at::Tensor& wrong : {at::zeros({7}, at::kHalf), at::zeros({2, 2, 2, 2, 2}, at::kHalf),
                                    at::zeros({0}, at::kHalf), at::zeros({3}, at::kLong), at::Tensor()}) {
      const std::string message = with_tensor(file, name, wrong);
      EXPECT_NE(message.find(name), std::string::npos) << file << ": \"" << message << "\"";
    }
  }
}

TEST_P(DamagedCheckpoint, RefusesConfigValuesThatCannotBe) {
  for (const auto& [file, key, value] : GetParam().configs) {
    const auto message = with_damage(file, [&, k = key, v = value](const fs::path& path) {
      Json config = load_json(path);
      config[k] = v;
      write(path, config.dump());
    });
    EXPECT_NE(message, "") << file << ": " << key << " = " << value;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, DamagedCheckpoint, ::testing::ValuesIn(test::damaged_families()),
                         [](const auto& family) { return std::string(family.param.name); });

}  // namespace
}  // namespace diffract::families
