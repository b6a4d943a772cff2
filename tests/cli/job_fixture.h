#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "diffract/core/file.h"
#include "diffract/core/json.h"
#include "tests/support/ranks.h"
#include "tests/support/temp_folder.h"

namespace diffract::test {

/// The processes of this user that run `generate` with an argument.
inline std::vector<pid_t> workers_with(const std::string& argument) {
  std::vector<pid_t> found;
  for (const auto& item : std::filesystem::directory_iterator("/proc")) {
    std::ifstream in(item.path() / "cmdline", std::ios::binary);
    const std::string line{std::istreambuf_iterator<char>(in), {}};
    if (line.find(std::string("\0generate\0", 10)) == line.find('\0') &&
        line.find(argument) != std::string::npos)
      found.push_back(std::stoi(item.path().filename().string()));
  }
  return found;
}

/// Jobs of the tiny checkpoint: two steps of 64x64, one thread a process.
class JobTest : public ::testing::Test {
 protected:
  static std::vector<std::string> prompts(size_t count) {
    std::vector<std::string> arguments;
    for (size_t i = 0; i < count; ++i) {
      arguments.emplace_back("--prompt");
      arguments.push_back(fmt::format("prompt number {}", i));
    }
    return arguments;
  }
  static std::vector<std::string> command(const std::vector<std::string>& more, const std::string& output) {
    std::vector<std::string> all = {
        DIFFRACT_PROGRAM, "generate", "--model",   data("reference/checkpoints/sd15").string(),
        "--steps",        "2",        "--height",  "64",
        "--width",        "64",       "--threads", "1",
        "--output",       output};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  ProcessEnd alone(const std::vector<std::string>& more, const std::string& output) const {
    return RunningProcess(command(more, output), {}, folder_.path().string()).wait(kPatience);
  }
  std::vector<ProcessEnd> together(int world_size, const std::vector<std::string>& more,
                                   const std::string& output) const {
    std::vector<ProcessEnd> results;
    for (auto& rank : start_ranks(command(more, output), world_size, free_port(), folder_.path().string()))
      results.push_back(rank.wait(kPatience));
    return results;
  }
  /// Starts `job` (a command of this program) under `diffract launch` with two processes, kills one of them
  /// as soon as `has_begun`, and waits for the launcher's end. `output`: the job's pattern, which tells its
  /// processes from others.
  ProcessEnd launched_and_killed(std::vector<std::string> job, const std::string& output,
                                 const std::vector<std::string>& launcher_options,
                                 const std::function<bool()>& has_begun) const {
    std::vector<std::string> launch = {"launch", "--nproc-per-node", "2"};
    launch.insert(launch.end(), launcher_options.begin(), launcher_options.end());
    job.insert(job.begin() + 1, launch.begin(), launch.end());
    RunningProcess running(job, {}, folder_.path().string());
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!has_begun()) {
      EXPECT_LT(std::chrono::steady_clock::now(), deadline) << running.errors();
      const bool ended = running.wait_for(std::chrono::milliseconds(2)).has_value();
      EXPECT_FALSE(ended) << running.errors();
      if (ended || std::chrono::steady_clock::now() >= deadline) break;
    }
    const auto workers = workers_with(output);
    EXPECT_EQ(workers.size(), 2u);
    if (workers.size() == 2) ::kill(workers[1], SIGKILL);
    return running.wait(kPatience);
  }
  static std::string bytes(const std::filesystem::path& file) { return load_text(file, 1 << 24); }

  /// The files of a folder but the manifest, by name: their bytes.
  std::map<std::string, std::string> pictures(const std::string& name) const {
    std::map<std::string, std::string> all;
    for (const auto& item : std::filesystem::directory_iterator(folder_ / name))
      if (item.path().filename() != "manifest.jsonl")
        all[item.path().filename().string()] = bytes(item.path());
    return all;
  }
  /// The lines of a folder's manifest.
  std::vector<Json> manifest(const std::string& name) const {
    std::vector<Json> lines;
    std::ifstream in(folder_ / (name + "/manifest.jsonl"));
    for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
    return lines;
  }
  /// Expects the lines of `count` finished pictures, each once, in any order.
  void expect_whole_manifest(const std::string& name, size_t count) const {
    std::set<size_t> indices;
    for (const Json& line : manifest(name)) {
      EXPECT_TRUE(line.contains("sha256")) << line;
      EXPECT_TRUE(indices.insert(line["index"].get<size_t>()).second) << "twice: " << line;
    }
    EXPECT_EQ(indices.size(), count);
  }

  TempFolder folder_;
};

}  // namespace diffract::test
