// Single files in the layout of a model's authors, components from elsewhere, and what is refused.
#include "diffract/loading/single_file.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/families/open_checkpoint.h"
#include "diffract/families/registry.h"
#include "diffract/models/text/clip_original_names.h"
#include "diffract/models/unet/unet_original_names.h"
#include "diffract/models/vae/vae_original_names.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/temp_folder.h"
#include "tests/support/variable.h"

namespace diffract::loading {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

fs::path reference(const std::string& name) { return test::data("reference/" + name); }
std::string checkpoint(const std::string& name) { return reference("checkpoints/" + name).string(); }
std::string single(const std::string& name) { return reference("single/" + name + ".safetensors").string(); }

// ---- names ----

ConfigReader config_with(const Json& keys) { return {keys, "config.json"}; }

TEST(OriginalNames, OfTheUnet) {
  const ConfigReader two = config_with({{"layers_per_block", 2}}),
                     one = config_with({{"layers_per_block", 1}});
  const auto name = [](const std::string& original, const ConfigReader& config) {
    return models::unet_original_names(original, config).at(0).name;
  };
  EXPECT_EQ(name("time_embed.2.bias", two), "time_embedding.linear_2.bias");
  EXPECT_EQ(name("label_emb.0.0.weight", two), "add_embedding.linear_1.weight");
  EXPECT_EQ(name("input_blocks.0.0.weight", two), "conv_in.weight");
  EXPECT_EQ(name("input_blocks.3.0.op.weight", two), "down_blocks.0.downsamplers.0.conv.weight");
  EXPECT_EQ(name("input_blocks.5.0.skip_connection.bias", two), "down_blocks.1.resnets.1.conv_shortcut.bias");
  EXPECT_EQ(name("input_blocks.5.1.transformer_blocks.0.attn1.to_out.0.weight", two),
            "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_out.0.weight");
  EXPECT_EQ(name("input_blocks.5.0.in_layers.0.weight", one), "down_blocks.2.resnets.0.norm1.weight");
  EXPECT_EQ(name("middle_block.2.emb_layers.1.weight", two), "mid_block.resnets.1.time_emb_proj.weight");
  EXPECT_EQ(name("middle_block.1.proj_in.weight", two), "mid_block.attentions.0.proj_in.weight");
  EXPECT_EQ(name("output_blocks.2.1.conv.weight", two), "up_blocks.0.upsamplers.0.conv.weight");
  EXPECT_EQ(name("output_blocks.5.2.conv.bias", two), "up_blocks.1.upsamplers.0.conv.bias");
  EXPECT_EQ(name("output_blocks.11.0.out_layers.3.weight", two), "up_blocks.3.resnets.2.conv2.weight");
  EXPECT_EQ(name("out.0.weight", two), "conv_norm_out.weight");
  // Those of diffusers, and those that are nobody's, stay.
  for (const char* same : {"conv_in.weight", "down_blocks.0.resnets.0.norm1.weight", "input_blocks", "x",
                           "input_blocks.1.weight", "input_blocks.x.0.weight", "middle_block.9.norm.weight"})
    EXPECT_EQ(name(same, two), same);
}

TEST(OriginalNames, OfTheVae) {
  const ConfigReader config = config_with({{"block_out_channels", {1, 1, 1, 1}}});
  const auto names = [&](const std::string& original) {
    return models::vae_original_names(original, config).at(0);
  };
  EXPECT_EQ(names("encoder.down.1.block.0.nin_shortcut.weight").name,
            "encoder.down_blocks.1.resnets.0.conv_shortcut.weight");
  EXPECT_EQ(names("encoder.down.0.downsample.conv.bias").name,
            "encoder.down_blocks.0.downsamplers.0.conv.bias");
  EXPECT_EQ(names("decoder.up.3.block.2.conv1.weight").name, "decoder.up_blocks.0.resnets.2.conv1.weight");
  EXPECT_EQ(names("decoder.up.1.upsample.conv.weight").name, "decoder.up_blocks.2.upsamplers.0.conv.weight");
  EXPECT_EQ(names("decoder.mid.block_2.norm1.bias").name, "decoder.mid_block.resnets.1.norm1.bias");
  const auto attention = names("encoder.mid.attn_1.proj_out.weight");
  EXPECT_EQ(attention.name, "encoder.mid_block.attentions.0.to_out.0.weight");
  EXPECT_TRUE(attention.part.is_pointwise);
  EXPECT_EQ(names("decoder.norm_out.bias").name, "decoder.conv_norm_out.bias");
  for (const char* same : {"quant_conv.weight", "encoder.conv_in.weight", "encoder.up",
                           "decoder.up.4.x.weight", "decoder.mid.block_0.norm1.weight", "loss.logvar"})
    EXPECT_EQ(names(same).name, same);
}

TEST(OriginalNames, OfOpenClip) {
  const ConfigReader config = config_with({{"num_hidden_layers", 23}});
  const auto names = [&](const std::string& original, bool has_projection = true) {
    return models::clip_original_names(original, config, has_projection);
  };
  const auto in_three = names("transformer.resblocks.22.attn.in_proj_bias");
  ASSERT_EQ(in_three.size(), 3u);
  EXPECT_EQ(in_three[1].name, "text_model.encoder.layers.22.self_attn.k_proj.bias");
  EXPECT_EQ(in_three[1].part.share, 1u);
  EXPECT_EQ(in_three[1].part.shares, 3u);
  EXPECT_EQ(names("transformer.resblocks.0.mlp.c_fc.weight").at(0).name,
            "text_model.encoder.layers.0.mlp.fc1.weight");
  EXPECT_TRUE(names("text_projection").at(0).part.is_transposed);
  EXPECT_EQ(names("positional_embedding").at(0).name, "text_model.embeddings.position_embedding.weight");
  // The last layer and the projection are left out in Stable Diffusion 2.
  EXPECT_TRUE(names("transformer.resblocks.23.ln_1.weight").empty());
  EXPECT_TRUE(names("text_projection", false).empty());
  EXPECT_TRUE(names("logit_scale").empty());
  EXPECT_EQ(names("text_model.final_layer_norm.bias").at(0).name, "text_model.final_layer_norm.bias");
}

// ---- kinds ----

class SingleFileTest : public ::testing::Test {
 protected:
  std::string file(const Tensors& tensors, const std::string& name = "x.safetensors") const {
    weights::save_tensors(folder_ / name, tensors);
    return folder_ / name;
  }
  static std::optional<FoundKind> kind_of(const std::string& path) {
    return find_single_file_kind(*io::SafetensorsFile::open(path), families::all_facts());
  }
  std::string kind_name(const Tensors& tensors) const {
    const auto found = kind_of(file(tensors));
    return found ? std::string(found->kind->name) : "";
  }
  template <typename E = CheckpointError>
  static std::string refused(const std::string& model, const LoadOptions& options = {}) {
    return error_of<E>([&] { families::DiffusionPipeline::from_pretrained(model, options); });
  }
  static void expect(const std::string& message, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << part << ": " << message;
  }
  static io::Image draw(const std::string& model, LoadOptions options) {
    options.arithmetic = at::kFloat;
    const auto pipeline = families::DiffusionPipeline::from_pretrained(model, options);
    return pipeline({.prompt = {"a dog"}, .num_inference_steps = 2, .height = 64, .width = 64}).images.at(0);
  }
  // A file with some tensors less, more or other.
  std::string changed(const std::string& from, const std::function<void(Tensors&)>& change) const {
    Tensors tensors;
    for (const auto& [name, weight] : io::open_weight_files({.files = {from}, .description = from})) {
      if (weight.info->dtype == io::Dtype::I64) continue;  // positions
      const std::vector<int64_t> shape(weight.info->shape.begin(), weight.info->shape.end());
      at::Tensor copy = at::empty(shape, weights::scalar_type(weight.info->dtype, name));
      const auto bytes = weight.bytes();
      std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(copy.data_ptr()));
      tensors.emplace_back(name, copy);
    }
    change(tensors);
    return file(tensors, "changed.safetensors");
  }
  test::TempFolder folder_;
};

Tensors unet_of(int64_t channels, int64_t text_width) {
  const std::string unet = "model.diffusion_model.";
  return {{unet + "input_blocks.0.0.weight", at::zeros({2, channels, 1, 1})},
          {unet + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", at::zeros({2, text_width})}};
}
Tensors with(Tensors tensors, const std::string& name) {
  tensors.emplace_back(name, at::zeros({2, 2}));
  return tensors;
}

TEST_F(SingleFileTest, IsToldByItsKeysAndShapes) {
  const std::string clip = "cond_stage_model.transformer.text_model.x",
                    open_clip = "cond_stage_model.model.x", xl = "conditioner.embedders.1.model.x",
                    refiner = "conditioner.embedders.0.model.x";
  EXPECT_EQ(kind_name(with(unet_of(4, 768), clip)), "Stable Diffusion 1.x");
  EXPECT_EQ(kind_name(with(unet_of(9, 768), clip)), "Stable Diffusion 1.x for inpainting");
  EXPECT_EQ(kind_name(with(unet_of(4, 1024), open_clip)), "Stable Diffusion 2.x");
  EXPECT_EQ(kind_name(with(unet_of(9, 1024), open_clip)), "Stable Diffusion 2.x for inpainting");
  EXPECT_EQ(kind_name(with(unet_of(4, 2048), xl)), "Stable Diffusion XL");
  EXPECT_EQ(kind_name(with(unet_of(9, 2048), xl)), "Stable Diffusion XL for inpainting");
  EXPECT_EQ(kind_name(with(unet_of(4, 1280), refiner)), "Stable Diffusion XL refiner");
  // Without text encoders by the width that the denoiser reads.
  EXPECT_EQ(kind_name(unet_of(4, 768)), "Stable Diffusion 1.x");
  EXPECT_EQ(kind_name(unet_of(4, 1024)), "Stable Diffusion 2.x");
  EXPECT_EQ(kind_name(unet_of(9, 2048)), "Stable Diffusion XL for inpainting");
  EXPECT_EQ(kind_name(unet_of(4, 1280)), "Stable Diffusion XL refiner");
  for (const int64_t channels : {5, 7, 8}) EXPECT_EQ(kind_name(with(unet_of(channels, 768), clip)), "");
  EXPECT_EQ(kind_of(single("sdxl_refiner"))->kind->name, "Stable Diffusion XL refiner");
  EXPECT_EQ(kind_of(single("sd2"))->kind->name, "Stable Diffusion 2.x");
}

TEST_F(SingleFileTest, OfNoKnownKindIsRefusedWithWhatItHas) {
  const std::pair<const char*, const char*> cases[] = {
      {"lora_unet_x.lora_down.weight", "--lora"},
      {"control_model.input_blocks.0.0.weight", "ControlNet"},
      {"double_blocks.0.img_attn.norm.key_norm.scale", "FLUX"},
      {"model.diffusion_model.joint_blocks.0.x", "Stable Diffusion 3"},
      {"decoder.up.0.block.0.conv1.weight", "--vae"},
      {"something.else", "something.else"}};
  for (const auto& [key, hint] : cases)
    expect(refused(file({{key, at::zeros({1})}})),
           {"1 tensors", key, "Stable Diffusion 1.x, ", "Stable Diffusion XL refiner", hint});
  expect(refused(file({})), {"0 tensors"});
  // Beside a folder that has all models, too: it must not be drawn in the file's place.
  expect(refused(reference("loras/sd15_peft.safetensors").string(), {.config = checkpoint("sd15")}),
         {"--lora"});
}

TEST_F(SingleFileTest, OfAnotherFormatIsRefusedWithWhatToDo) {
  for (const char* name : {"a.ckpt", "b.pt", "c.PTH", "d.bin"})
    expect(refused(folder_.file(name, "x")), {"pickle", "can run code", "save_file"});
  expect(refused(folder_.file("a.gguf", "x")), {"GGUF"});
  expect(refused("absent.safetensors"), {"no such file"});
  expect(refused(folder_.file("cut.safetensors", load_text(single("sd15"), 1 << 20).substr(0, 500'000)),
                 {.config = checkpoint("sd15-full-blocks")}),
         {"cut.safetensors", "bytes of data; its header describes"});
}

TEST_F(SingleFileTest, NamesTheFirstTensorThatDoesNotFit) {
  expect(refused(single("sd15"), {.config = checkpoint("sd15")}),
         {"sd15.safetensors", "\"model.diffusion_model.", "has shape", "expected"});
  expect(refused(single("sd15_inpaint9"), {.config = checkpoint("sd15-full-blocks")}),
         {"has shape", "expected"});
  expect(refused<UsageError>(single("sdxl"), {.config = checkpoint("sd15")}),
         {"Stable Diffusion 1.x and 2.x", "a file of Stable Diffusion XL"});
  expect(refused<UsageError>(checkpoint("sd15"), {.config = checkpoint("sd15")}), {"--config"});
  const std::string odd = changed(single("sdxl_refiner"), [](Tensors& tensors) {
    for (auto& [name, tensor] : tensors)
      if (name.ends_with("resblocks.0.attn.in_proj_weight")) tensor = tensor.narrow(0, 0, 7).clone();
  });
  expect(refused(odd, {.config = checkpoint("sdxl-refiner")}),
         {"resblocks.0.attn.in_proj_weight", "has shape [7, ", "3 equal shares"});
}

// Its configs and tokenizers come from the hub's cache, where that has them without any weights.
TEST_F(SingleFileTest, FindsTheConfigsOfItsKind) {
  const test::Variable cache("HF_HUB_CACHE", (folder_ / "cache").c_str());
  expect(refused(single("sd15")),
         {"a file of Stable Diffusion 1.x", "--config FOLDER", "stable-diffusion-v1-5/stable-diffusion-v1-5",
          "hf download", "--include \"*.json\" --include \"*.txt\""});
  const fs::path repository = folder_ / "cache/models--stable-diffusion-v1-5--stable-diffusion-v1-5";
  const fs::path snapshot = repository / "snapshots/c0ffee";
  fs::create_directories(repository / "refs");
  folder_.file("cache/models--stable-diffusion-v1-5--stable-diffusion-v1-5/refs/main", "c0ffee");
  fs::create_directories(snapshot.parent_path());
  fs::copy(checkpoint("sd15-full-blocks"), snapshot, fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(snapshot))
    if (entry.path().extension() == ".safetensors") fs::remove(entry.path());
  EXPECT_EQ(draw(single("sd15"), {}).pixels,
            draw(single("sd15"), {.config = checkpoint("sd15-full-blocks")}).pixels);
}

// ---- the same picture ----

TEST_F(SingleFileTest, GivesTheFoldersPicture) {
  const std::pair<const char*, const char*> cases[] = {
      {"sd15", "sd15-full-blocks"}, {"sdxl", "sdxl-no-zeros"}, {"sd2", "sd2-vpred"}};
  for (const auto& [name, folder] : cases) {
    // The files are in float16.
    const auto of_file = draw(single(name), {.config = checkpoint(folder)});
    const auto of_folder = draw(checkpoint(folder), {.torch_dtype = at::kHalf});
    EXPECT_EQ(of_file.pixels, of_folder.pixels) << name;
  }
}

// Stable Diffusion 2's file has one layer more than its model.
TEST_F(SingleFileTest, LeavesOutWhatIsNoModels) {
  const std::string layer = "cond_stage_model.model.transformer.resblocks.";
  const std::string more = changed(single("sd2"), [&](Tensors& tensors) {
    const Tensors before = tensors;
    for (const auto& [name, tensor] : before)
      if (name.starts_with(layer + "0."))
        tensors.emplace_back(layer + "9" + name.substr(layer.size() + 1), tensor);
    tensors.emplace_back("model_ema.diffusion_modelinput_blocks00weight", at::ones({1}));
  });
  const LoadOptions options{.config = checkpoint("sd2-vpred")};
  EXPECT_EQ(draw(more, options).pixels, draw(single("sd2"), options).pixels);
}

TEST_F(SingleFileTest, TakesWhatItLacksFromElsewhere) {
  const std::string without = changed(single("sd15"), [](Tensors& tensors) {
    std::erase_if(tensors, [](const auto& one) { return one.first.starts_with("first_stage_model."); });
  });
  // The folder of the configs has it.
  const LoadOptions options{.torch_dtype = at::kHalf, .config = checkpoint("sd15-full-blocks")};
  const auto whole = draw(single("sd15"), options);
  EXPECT_EQ(draw(without, options).pixels, whole.pixels);
  fs::copy(checkpoint("sd15-full-blocks"), folder_ / "bare", fs::copy_options::recursive);
  fs::remove(folder_ / "bare/vae/diffusion_pytorch_model.safetensors");
  LoadOptions bare{.torch_dtype = at::kHalf, .config = folder_ / "bare"};
  expect(refused(without, bare), {"has no vae", "\"vae.\" or \"first_stage_model.\"", "--vae FILE"});
  // By a folder, by a file with diffusers' names, and by another whole checkpoint.
  for (const std::string& vae :
       {checkpoint("sd15-full-blocks") + "/vae", checkpoint("sd15-full-blocks"),
        checkpoint("sd15-full-blocks") + "/vae/diffusion_pytorch_model.safetensors", single("sd15")}) {
    bare.components["vae"] = vae;
    EXPECT_EQ(draw(without, bare).pixels, whole.pixels) << vae;
  }
}

TEST_F(SingleFileTest, ComponentsAreCheckedWhereTheyCome) {
  const auto with_component = [](const char* name, const std::string& path) {
    return LoadOptions{.components = {{name, path}}};
  };
  const std::string model = checkpoint("sd15");
  expect(refused<UsageError>(model, with_component("transformer", model)),
         {"--transformer", "no such component", "unet"});
  expect(refused<UsageError>(model, with_component("vae", "none")), {"--vae none"});
  expect(refused(model, with_component("vae", model + "/unet")),
         {"\"vae\" is a UNet2DConditionModel", "AutoencoderKL"});
  expect(refused(model, with_component("vae", folder_.file("v.ckpt", "x"))), {"pickle"});
  expect(refused(model, with_component("vae", file({{"x", at::zeros({1})}}))),
         {"x.safetensors", "is missing"});
  expect(refused(model, with_component("unet", folder_ / "none")), {"no such folder"});
  expect(
      refused(checkpoint("flux-dev"),
              with_component("transformer", file({{"double_blocks.0.img_attn.qkv.weight", at::zeros({1})}}))),
      {"double_blocks.", "not read yet"});
}

// A picture says what it was made with, and nothing of where that was.
TEST_F(SingleFileTest, IsKnownByItsContent) {
  const LoadOptions options{.config = checkpoint("sd15-full-blocks")};
  const auto identity = [&](const std::string& path) {
    return io::identify_checkpoint(families::open_checkpoint(path, options), "");
  };
  const std::string same = folder_ / "sd15.safetensors";
  fs::copy(single("sd15"), same);
  EXPECT_EQ(identity(same).name, "sd15.safetensors");
  EXPECT_EQ(identity(same).hash, identity(single("sd15")).hash);
  const std::string other = changed(single("sd15"), [](Tensors& tensors) { tensors[0].second.add_(1); });
  EXPECT_NE(identity(other).hash, identity(single("sd15")).hash);
}

}  // namespace
}  // namespace diffract::loading
