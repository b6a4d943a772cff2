// A checkpoint whose files are damaged one at a time: each gives an error that names what is wrong, or, where
// the damage cannot be seen (a bit of a weight), a picture; never a crash.
#include "diffract/io/safetensors.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/damaged_model.h"

namespace diffract::pipelines {
namespace {

namespace fs = std::filesystem;

class Corruption : public test::DamagedModel {
 protected:
  Corruption() : DamagedModel("sd15-fp16", "fp16") {}
};

TEST_F(Corruption, OfNothingGivesAPicture) { EXPECT_EQ(run(), ""); }

TEST_F(Corruption, ByCuttingAFileShort) {
  for (const auto& extension : {".json", ".safetensors"})
    for (const auto& file : files(extension)) {
      const auto size = fs::file_size(model_ / file);
      for (const auto length : {uintmax_t{0}, uintmax_t{1}, size / 4, size / 2, size - 3}) {
        const auto message = with_damage(file, [&](const fs::path& path) { fs::resize_file(path, length); });
        // The files that only say what tokenizer.json says too are not needed when they are empty.
        const bool optional =
            length == 0 && (file.ends_with("tokenizer_config.json") || file.ends_with("map.json"));
        const bool unread = file.ends_with("vocab.json") || file.ends_with("special_tokens_map.json");
        if (!optional && !unread) expect_named(message, file);
      }
    }
  EXPECT_GE(cases_, 60u);
}

TEST_F(Corruption, ByFlippingBitsOfAHeaderOrAConfig) {
  for (const auto& file : files(".safetensors"))
    for (const size_t byte : {0u, 1u, 3u, 7u, 8u, 9u, 20u, 45u, 60u, 100u, 333u, 1000u})
      with_damage(file, [&](const fs::path& path) {
        std::string bytes = load_text(path, 1 << 24);
        bytes[byte] = static_cast<char>(bytes[byte] ^ 0x10);
        write(path, bytes);
      });
  for (const auto& file : files(".json"))
    for (size_t i = 0; i < 10; ++i)
      with_damage(file, [&](const fs::path& path) {
        std::string bytes = load_text(path, 1 << 24);
        const size_t byte = bytes.size() * (2 * i + 1) / 20;
        bytes[byte] = static_cast<char>(bytes[byte] ^ 0x08);
        write(path, bytes);
      });
  EXPECT_GE(cases_, 100u);
}

TEST_F(Corruption, ByTakingAFileAway) {
  for (const auto& extension : {".json", ".safetensors"})
    for (const auto& file : files(extension)) {
      const auto message = with_damage(file, [](const fs::path& path) { fs::remove(path); });
      const bool not_needed = fs::path(file).parent_path() == "tokenizer";  // the rest of them tells the same
      if (!not_needed) expect_named(message, file);
    }
}

TEST_F(Corruption, ByAFolderInAFilesPlace) {
  for (const auto& file : files(".safetensors"))
    expect_named(with_damage(file,
                             [](const fs::path& path) {
                               fs::remove(path);
                               fs::create_directory(path);
                             }),
                 file);
}

TEST_F(Corruption, ByTensorsOfAnotherShapeOrType) {
  for (const auto& file : files(".safetensors")) {
    const auto sound = io::SafetensorsFile::open(model_ / file);
    const std::string name = sound->tensors()[sound->tensors().size() / 2].name;
    // The file with every tensor but one as it was.
    const auto with_tensor = [&](const at::Tensor& replacement) {
      std::vector<std::pair<std::string, at::Tensor>> tensors;
      for (const auto& info : sound->tensors()) {
        const std::vector<int64_t> shape(info.shape.begin(), info.shape.end());
        at::Tensor tensor = at::empty(shape, at::kHalf);
        const auto bytes = sound->bytes(info);
        std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(tensor.data_ptr()));
        if (info.name != name) tensors.emplace_back(info.name, tensor);
      }
      if (replacement.defined()) tensors.emplace_back(name, replacement);
      return with_damage(file, [&](const fs::path& path) { weights::save_tensors(path, tensors); });
    };
    for (const at::Tensor& wrong : {at::zeros({7}, at::kHalf), at::zeros({2, 2, 2, 2, 2}, at::kHalf),
                                    at::zeros({0}, at::kHalf), at::zeros({3}, at::kLong), at::Tensor()})
      EXPECT_NE(with_tensor(wrong).find(name), std::string::npos);
  }
}

TEST_F(Corruption, OfConfigValues) {
  const std::tuple<const char*, const char*, Json> cases[] = {
      {"model_index.json", "_class_name", "StableDiffusionXLPipeline"},
      {"model_index.json", "_class_name", 5},
      {"model_index.json", "unet", {"diffusers", "UNet3DConditionModel"}},
      {"model_index.json", "unet", {nullptr, nullptr}},
      {"model_index.json", "vae", {"diffusers", "AutoencoderTiny"}},
      {"model_index.json", "text_encoder", {"transformers", "T5EncoderModel"}},
      {"model_index.json", "tokenizer", {"transformers", "T5Tokenizer"}},
      {"model_index.json", "scheduler", {"diffusers", "LCMScheduler"}},
      {"unet/config.json", "in_channels", 9},
      {"unet/config.json", "cross_attention_dim", 768},
      {"unet/config.json", "block_out_channels", {16, 32, 64}},
      {"unet/config.json", "block_out_channels", {16, 3200000}},
      {"unet/config.json", "layers_per_block", 3},
      {"unet/config.json", "layers_per_block", 1000000000},
      {"unet/config.json", "attention_head_dim", 0},
      {"unet/config.json", "norm_num_groups", 0},
      {"unet/config.json", "sample_size", -1},
      {"unet/config.json", "class_embed_type", "timestep"},
      {"text_encoder/config.json", "use_attention_mask", true},
      {"vae/config.json", "latent_channels", 16},
      {"vae/config.json", "block_out_channels", Json::array()},
      {"vae/config.json", "down_block_types", {"X"}},
      {"vae/config.json", "scaling_factor", 0},
      {"vae/config.json", "layers_per_block", 2},
      {"text_encoder/config.json", "hidden_size", 64},
      {"text_encoder/config.json", "num_attention_heads", 5},
      {"text_encoder/config.json", "num_hidden_layers", 4},
      {"text_encoder/config.json", "num_hidden_layers", 2000},
      {"text_encoder/config.json", "vocab_size", 100},
      {"text_encoder/config.json", "hidden_act", "swish7"},
      {"scheduler/scheduler_config.json", "beta_schedule", "magic"},
      {"scheduler/scheduler_config.json", "num_train_timesteps", 0},
      {"tokenizer/special_tokens_map.json", "bos_token", "<none>"},
  };
  for (const auto& [file, key, value] : cases) {
    const auto message = with_damage(file, [&, k = key, v = value](const fs::path& path) {
      Json config = load_json(path);
      config[k] = v;
      write(path, config.dump());
    });
    EXPECT_NE(message, "") << file << ": " << key << " = " << value;
  }
}

}  // namespace
}  // namespace diffract::pipelines
