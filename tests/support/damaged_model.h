#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/pipelines/pipeline.h"
#include "tests/support/temp_folder.h"

namespace diffract::test {

namespace fs = std::filesystem;
using families::DiffusionPipeline;

/// A copy of a small checkpoint, of which one file at a time is damaged.
class DamagedModel : public ::testing::Test {
 protected:
  DamagedModel(const std::string& checkpoint, std::string variant) : variant_(std::move(variant)) {
    fs::copy(data("reference/checkpoints/" + checkpoint), model_, fs::copy_options::recursive);
  }

  // Runs with one file damaged, and puts it back. The outcome is an error's message, or "" for a picture.
  std::string with_damage(const std::string& file, const std::function<void(const fs::path&)>& damage) {
    const fs::path path = model_ / file;
    const std::string sound = load_text(path, 1 << 24);
    damage(path);
    const std::string outcome = run();
    fs::remove_all(path);
    write(path, sound);
    ++cases_;
    return outcome;
  }

  std::string run() const {
    try {
      const auto pipeline = DiffusionPipeline::from_pretrained(model_.string(), {.variant = variant_});
      pipeline({.prompt = {"a dog"}, .num_inference_steps = 1, .height = 64, .width = 64});
      return "";
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::checkpoint || error.kind() == ErrorKind::io ||
                  error.kind() == ErrorKind::usage)
          << error.what();
      return error.what();
    }
  }

  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  std::vector<std::string> files(const std::string& extension) const {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(model_))
      if (entry.is_regular_file() && entry.path().extension() == extension)
        found.push_back(fs::relative(entry.path(), model_).string());
    std::sort(found.begin(), found.end());
    return found;
  }

  // The error must name the file or the folder that it is in.
  void expect_named(const std::string& message, const std::string& file) const {
    const std::string component =
        fs::path(file).has_parent_path() ? fs::path(file).parent_path().string() : file;
    EXPECT_NE(message.find(component), std::string::npos) << file << ": \"" << message << "\"";
  }

  TempFolder folder_;
  fs::path model_ = folder_ / "model";
  std::string variant_;
  size_t cases_ = 0;
};

}  // namespace diffract::test
