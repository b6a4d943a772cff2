#include "diffract/io/model_identity.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

namespace fs = std::filesystem;

TEST(ModelIdentity, IsTheFoldersNameHoweverItIsTyped) {
  const test::TempFolder folder;
  fs::create_directories(folder / "sub/model");
  for (const char* typed :
       {"sub/model", "sub/model/", "sub//model//", "sub/./model", "sub/model/.", "sub/../sub/model"}) {
    const auto identity = identify_model(folder / typed);
    EXPECT_EQ(identity.name, "model") << typed;
    EXPECT_EQ(identity.revision, "") << typed;
  }
  EXPECT_EQ(identify_model("model/").name, "model");
  EXPECT_NE(identify_model(".").name, "");
  EXPECT_EQ(identify_model("/").name, "/");
}

TEST(ModelIdentity, IsTheRepositoryAndItsCommitInTheCache) {
  const fs::path snapshot = "/cache/models--org--some-name/snapshots/0123abcd";
  for (const fs::path& typed : {snapshot, snapshot / ""}) {
    EXPECT_EQ(identify_model(typed).name, "org/some-name");
    EXPECT_EQ(identify_model(typed).revision, "0123abcd");
  }
  EXPECT_EQ(identify_model("/cache/models--gpt/snapshots/1").name, "gpt");
  EXPECT_EQ(identify_model("/data/snapshots/model").name, "model");
}

// A file of one tensor that holds these bytes.
std::string safetensors(const std::string& bytes) {
  const std::string header =
      fmt::format(R"({{"w":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}})", bytes.size());
  std::string file(8, '\0');
  for (size_t i = 0; i < file.size(); ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  return file + header + bytes;
}

class CheckpointHash : public ::testing::Test {
 protected:
  std::string hash(const std::string& name) const {
    return identify_checkpoint(ModelFolder::open(folder_ / name), "").hash;
  }
  void write(const std::string& name, const std::string& weights, const std::string& config = "{}") const {
    folder_.file(name + "/model_index.json", R"({"_class_name": "X", "unet": ["diffusers", "U"]})");
    folder_.file(name + "/unet/config.json", config);
    folder_.file(name + "/unet/diffusion_pytorch_model.safetensors", safetensors(weights));
  }
  test::TempFolder folder_;
};

// --resume must not take the pictures of another model for its own.
TEST_F(CheckpointHash, TellsModelsOfOneNameApart) {
  const std::string large(1 << 20, 'w');
  std::string trained = large;
  for (size_t i = 0; i < trained.size(); i += 1000) trained[i] = 't';
  write("a/model", large);
  write("b/model", large);
  write("c/model", trained);
  write("d/model", large, R"({"sample_size": 8})");
  write("e/model", large + "w");
  EXPECT_EQ(hash("a/model").size(), 16u);
  EXPECT_EQ(hash("a/model"), hash("b/model/"));
  for (const char* other : {"c/model", "d/model", "e/model"})
    EXPECT_NE(hash("a/model"), hash(other)) << other;
}

// Another vocabulary makes another picture, and differs from the first in a few of its many lines.
TEST_F(CheckpointHash, ReadsConfigsAndVocabulariesAsAWhole) {
  const std::string index =
      R"({"_class_name": "X", "unet": ["diffusers", "U"], "tokenizer": ["transformers", "T"]})";
  const std::string words(1 << 18, ' ');
  for (const char* file :
       {"unet/config.json", "tokenizer/tokenizer.json", "tokenizer/merges.txt", "tokenizer/spiece.model"}) {
    write("a/model", "w");
    folder_.file("a/model/model_index.json", index);
    folder_.file(std::string("a/model/") + file, words);
    const std::string before = hash("a/model");
    for (const size_t place : {size_t{5000}, words.size() - 5000}) {
      std::string changed = words;
      changed[place] = '\n';
      folder_.file(std::string("a/model/") + file, changed);
      EXPECT_NE(hash("a/model"), before) << file << " at " << place;
    }
  }
}

TEST_F(CheckpointHash, IsNotNeededBesideACommit) {
  write("models--org--name/snapshots/c0ffee", "w");
  EXPECT_EQ(hash("models--org--name/snapshots/c0ffee"), "");
}

}  // namespace
}  // namespace diffract::io
