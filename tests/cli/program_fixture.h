#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "diffract/io/png.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract::test {

/// The program in a folder of its own, with a small checkpoint at hand.
class Program : public ::testing::Test {
 protected:
  ProgramResult run(const std::vector<std::string>& arguments) const {
    return run_diffract(arguments, folder_.path().string());
  }
  /// A picture of the tiny checkpoint in two steps.
  ProgramResult generate(std::vector<std::string> more) const {
    std::vector<std::string> all = {"generate", "--model", model_,    "--steps", "2",
                                    "--height", "64",      "--width", "64"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_.path()),
                                             std::filesystem::directory_iterator()));
  }
  std::string text_of(const std::string& png, const std::string& key) const {
    for (const auto& text : io::load_png(folder_ / png).texts)
      if (text.key == key) return text.value;
    return "";
  }

  TempFolder folder_;
  std::string model_ = data("reference/checkpoints/sd15").string();
};

}  // namespace diffract::test
