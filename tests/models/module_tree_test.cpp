#include "diffract/models/module_tree.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/models/model_class.h"
#include "tests/support/temp_folder.h"

namespace diffract::models {
namespace {

// Names, classes, order and sizes of small models of every class, as diffusers and transformers have them
// (tools/make_placement_cases.py).
TEST(ModuleTree, IsThatOfDiffusersAndTransformers) {
  const Json cases = load_json(test::data("placement/module_trees.json"));
  ASSERT_EQ(cases.size(), 18u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const ConfigReader config(cases[i]["config"], fmt::format("case {}", i));
    const std::string class_name = class_name_of(config);
    SCOPED_TRACE(fmt::format("case {}: {}", i, class_name));
    const auto tree = make_module_tree(config);

    std::vector<std::string> names, expected;
    tree.walk([&](const std::string& name, const placement::Module&) { names.push_back(name); });
    for (const Json& module : cases[i]["modules"]) expected.push_back(module[0]);
    EXPECT_EQ(names, expected);

    // The planner looks at the classes of blocks; those of layers (SiLU or another activation) it does not.
    const auto blocks = plan_options(config).no_split_module_classes;
    for (const Json& module : cases[i]["modules"]) {
      const auto* found = tree.find(module[0].get<std::string>());
      const bool is_block =
          std::find(blocks.begin(), blocks.end(), module[1].get<std::string>()) != blocks.end();
      if (found && (is_block || !found->children.empty())) {
        EXPECT_EQ(found->class_name, module[1]) << module[0];
      }
    }

    std::map<std::string, int64_t> tensors, expected_tensors;
    tree.walk([&](const std::string& name, const placement::Module& module) {
      for (const auto& tensor : module.tensors)
        tensors[placement::join_name(name, tensor.name)] = tensor.elements;
    });
    for (const Json& tensor : cases[i]["tensors"]) expected_tensors[tensor[0]] = tensor[1].get<int64_t>();
    EXPECT_EQ(tensors, expected_tensors);
    EXPECT_EQ(placement::compute_module_sizes(tree).total(), cases[i]["total"].get<int64_t>());
  }
}

TEST(ModuleTree, NamesTheBlocksThatStayWholeAsTheLibrariesDo) {
  for (const Json& c : load_json(test::data("placement/module_trees.json"))) {
    const ConfigReader config(c["config"], "case");
    if (class_name_of(config) == "ControlNetModel") continue;  // diffusers names none: ours are the UNet's
    std::vector<std::string> expected;
    const bool sees = class_name_of(config) == "CLIPVisionModelWithProjection" ||
                      class_name_of(config) == "StableDiffusionSafetyChecker";
    for (const Json& name : c["no_split"])  // transformers lists the blocks of both of CLIP's sides
      if (name != (sees ? "CLIPTextEmbeddings" : "CLIPVisionEmbeddings")) expected.push_back(name);
    auto found = plan_options(config).no_split_module_classes;
    std::erase_if(found, [](const auto& name) { return name.ends_with("ImageProjection"); });  // IP-Adapters'
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected) << class_name_of(config);
  }
}

TEST(ModuleTree, EveryBuiltInConfigHasATree) {
  for (const char* folder : {"flux-dev/transformer", "flux-schnell/transformer", "flux-dev/text_encoder",
                             "flux-dev/text_encoder_2", "flux-dev/vae", "sdxl/unet", "sdxl/text_encoder_2",
                             "sd15-full-blocks/unet", "sd2-vpred/unet"}) {
    const auto path = test::data(fmt::format("reference/checkpoints/{}/config.json", folder));
    const auto tree = make_module_tree(ConfigReader(load_json(path), path.string()));
    EXPECT_GT(placement::compute_module_sizes(tree).total(), 1000) << folder;
  }
}

TEST(ModelClass, IsReadFromEachKindOfConfig) {
  const auto name_of = [](const char* text) { return class_name_of(ConfigReader(Json::parse(text), "x")); };
  EXPECT_EQ(name_of(R"({"_class_name": "AutoencoderKL"})"), "AutoencoderKL");
  EXPECT_EQ(name_of(R"({"architectures": ["T5EncoderModel"]})"), "T5EncoderModel");
  EXPECT_EQ(name_of(R"({"architectures": null, "model_type": "t5"})"), "T5EncoderModel");
  EXPECT_EQ(name_of(R"({"architectures": [], "model_type": "clip_text_model"})"), "CLIPTextModel");
  EXPECT_THROW(name_of(R"({"model_type": "bert"})"), CheckpointError);
  EXPECT_THROW(name_of("{}"), CheckpointError);
  EXPECT_THROW(make_module_tree(ConfigReader(Json::parse(R"({"_class_name": "Other"})"), "x")),
               CheckpointError);
  EXPECT_THROW(make_module_tree(ConfigReader(Json::parse(R"({"_class_name": "UNet2DConditionModel",
                                                    "addition_embed_type": "image"})"),
                                             "x")),
               CheckpointError);
}

}  // namespace
}  // namespace diffract::models
