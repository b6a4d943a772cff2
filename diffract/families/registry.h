#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/loading/pipeline_layout.h"
#include "diffract/pipelines/pipeline.h"

namespace diffract::families {

/// A checkpoint family: its facts, and how its pipeline is made.
struct Family {
  const loading::FamilyFacts* facts;
  std::shared_ptr<pipelines::Pipeline> (*from_folder)(const io::ModelFolder& folder,
                                                      const loading::LoadOptions& options);
};

/// All that there are.
std::span<const Family> families();
/// Their facts.
std::span<const loading::FamilyFacts* const> all_facts();
/// The family that a checkpoint of a class of model_index.json is run as: StableDiffusionPipeline also for
/// one that was saved from image to image. Null for a class that diffract does not run.
const Family* find_family(std::string_view class_name);
/// Throws CheckpointError beginning with `where` for a class that diffract does not run.
void require_family(std::string_view class_name, const std::string& where);
/// The family of which a model of this class is the denoiser, or null.
const Family* family_of_denoiser(std::string_view class_name);

/// The facts to plan a pipeline's folder with: of its family, else of the one with the same denoiser; null
/// where there is none.
const loading::FamilyFacts* facts_for_plan(const io::ModelFolder& folder);
/// loading::lay_out_pipeline with these facts.
loading::PipelineLayout lay_out_pipeline(const io::ModelFolder& folder,
                                         const loading::LayoutRequest& request);

}  // namespace diffract::families
