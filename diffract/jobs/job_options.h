#pragma once
#include <optional>
#include <string>
#include <vector>

#include "diffract/loading/load_fields.h"
#include "diffract/pipelines/request.h"

namespace diffract::jobs {

/// Where the pictures of a job go.
struct OutputOptions {
  std::string pattern;        // of file names; empty: the default of the output type
  std::string save_steps;     // a file of the latents after each step; empty: none
  int64_t preview_every = 0;  // steps from one preview of a picture to the next; 0: none
  bool latent = false;        // latents in one file instead of pictures
  bool resume = false;        // skip pictures that are there already, made with the same parameters

  std::string file_pattern() const;
};

/// A job of pictures, whoever asks for it.
struct JobOptions {
  std::string model;
  loading::LoadTexts loading;                // fields of loading::load_fields()
  std::vector<pipelines::Request> requests;  // a request's seed goes before the job's
  uint64_t seed = 0;
  bool seed_is_random = false;            // drawn by this process
  std::optional<int64_t> batch_size = 1;  // images computed together; unset: found by measuring
  OutputOptions output;
  bool equal_shares = false;        // else batches go to the process that is free
  int in_flight = 0;                // batches in flight over ranks; 0: two a process
  int threads = 0;                  // of the CPU; 0: chosen
  double peer_timeout_seconds = 0;  // of processes that share the models; 0: the default
  std::string prompts_file = {};    // for messages and checks

  /// Whether the processes of the job divide the model among them.
  bool is_over_ranks() const;
};

/// Throws UsageError where options contradict each other, or do not suit so many processes.
void check_options(const JobOptions& options, int world_size);

}  // namespace diffract::jobs
