#include "diffract/loading/family_facts.h"

namespace diffract::loading {

tensor::DtypePolicy policy_of(const FamilyFacts* facts, const models::ModelClass& model_class,
                              const ConfigReader& config, tensor::DtypePolicy policy) {
  const bool upcasts = facts && facts->heeds_force_upcast && model_class.force_upcast &&
                       model_class.force_upcast(config);  // looked at in every case: it may be damaged
  if (upcasts && policy.arithmetic == at::kHalf) policy.arithmetic = at::kFloat;
  return policy;
}

}  // namespace diffract::loading
