#include <algorithm>
#include <cmath>

#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/solver_schedule.h"

namespace diffract::schedulers {
namespace {

/// Stochastic Adams solver: a predictor and a corrector of any order to 4, with fresh noise where tau is not
/// 0. Source: Xue et al. 2023, equations 14 and 17; diffusers scheduling_sasolver.py.
class SaSolver final : public SolverSchedule {
 public:
  SaSolver(const ConfigReader& config, const ScheduleRequest& request)
      : SolverSchedule(config, request,
                       {.clips_lambda = true,
                        .rounds_even_with_cosine = true,
                        .final_is_last_spaced = true,
                        .ends_at_picture = false,
                        .has_rescale_zero_snr = false,
                        .has_variance_type = true}),
        predictor_order_(static_cast<size_t>(config.integer("predictor_order", 1, 4, 2))),
        corrector_order_(static_cast<size_t>(config.integer("corrector_order", 1, 4, 2))),
        lower_order_final_(config.boolean("lower_order_final", true)) {
    config.unsupported_unless("tau_func");  // code, which a config cannot hold
    predicts_picture_ = config.choice("algorithm_type", {"data_prediction", "noise_prediction"},
                                      "data_prediction") == "data_prediction";
  }

  // By timestep, as diffusers does here.
  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return training_.level(timesteps_[index]).mix(sample, noise);
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& predicted,
              const NoiseSource& noise) override {
    const Tensor prediction =
        predicts_picture_ ? picture_in(output, index, predicted) : noise_in(output, index, predicted);
    Tensor sample = predicted;
    history_.push_back(prediction);
    if (history_.size() > 1)  // the last step again, with what was found at its end
      sample = advance({.from = index - 1, .newest = index, .order = next_corrector_order_}, start_);
    const size_t kept = std::max(predictor_order_, corrector_order_ - 1);
    if (history_.size() > kept) history_.erase(history_.begin());
    noise_ = noise();
    const size_t left = steps() - index;
    const size_t predictor = lower_order_final_ ? std::min(predictor_order_, left) : predictor_order_,
                 corrector = lower_order_final_ ? std::min(corrector_order_, left + 1) : corrector_order_;
    next_corrector_order_ = std::min(corrector, history_.size() + 1);
    start_ = sample;
    return advance({.from = index, .newest = index, .order = std::min(predictor, history_.size())}, sample);
  }

 private:
  // A step from level `from` to the next, by the polynomial through the `order` newest predictions, the first
  // of them at level `newest`: the corrector's is that of the step's end.
  struct Rule {
    size_t from, newest, order;
    bool corrects() const { return newest != from; }
  };

  // Noise is added in the middle of the walk only: diffusers' tau_func.
  static double tau_at(double timestep) { return timestep >= 200 && timestep <= 800 ? 1 : 0; }

  Tensor advance(const Rule& rule, const Tensor& sample) const {
    const double tau = tau_at(timesteps_[rule.from]), rate = 1 + tau * tau;
    const NoiseLevel from = level(rule.from), to = level(rule.from + 1);
    const double h = to.lambda() - from.lambda();
    const double kept =
        predicts_picture_ ? std::exp(-tau * tau * h) * (to.sigma / from.sigma) : to.alpha / from.alpha;
    const double scale =
        predicts_picture_ ? rate * to.sigma * std::exp(-tau * tau * to.lambda()) : -rate * to.alpha;
    const double fresh = predicts_picture_ ? to.sigma * std::sqrt(-std::expm1(-2 * tau * tau * h))
                                           : tau * to.sigma * std::sqrt(std::expm1(2 * h));
    Tensor next = kept * sample;
    const auto weights = integrals(rule, rate);
    for (size_t i = 0; i < rule.order; ++i)
      next = next + (scale * weights[i]) * history_[history_.size() - 1 - i];
    return next + fresh * noise_;
  }

  // Over the step in lambda, of each Lagrange polynomial through the newest predictions times exp(rate *
  // lambda), or exp(-lambda) for the noise.
  std::vector<double> integrals(const Rule& rule, double rate) const {
    const double begin = level(rule.from).lambda(), end = level(rule.from + 1).lambda();
    std::vector<double> nodes;
    for (size_t i = 0; i < rule.order; ++i) nodes.push_back(level(rule.newest - i).lambda());
    const double speed = predicts_picture_ ? rate : -1;
    std::vector<double> weights;
    for (size_t i = 0; i < rule.order; ++i)
      weights.push_back(integral(basis(nodes, i, end), speed, begin - end));
    for (double& weight : weights) weight *= std::exp(speed * end);
    if (predicts_picture_ && rule.order == 2) bend(rule, rate, end - begin, weights);
    return weights;
  }

  // Coefficients, the constant first, of the Lagrange polynomial that is 1 at node `i`, in x = lambda -
  // `origin`.
  static std::vector<double> basis(const std::vector<double>& nodes, size_t i, double origin) {
    std::vector<double> polynomial{1};
    for (size_t k = 0; k < nodes.size(); ++k) {
      if (k == i) continue;
      const double root = nodes[k] - origin, distance = nodes[i] - nodes[k];
      std::vector<double> product(polynomial.size() + 1, 0.0);
      for (size_t power = 0; power < polynomial.size(); ++power) {
        product[power + 1] += polynomial[power] / distance;
        product[power] -= polynomial[power] * root / distance;
      }
      polynomial = std::move(product);
    }
    return polynomial;
  }

  // Of polynomial(x) * exp(speed * x) from x = `from` (below 0) to 0, by parts.
  static double integral(const std::vector<double>& polynomial, double speed, double from) {
    double moment = -std::expm1(speed * from) / speed, sum = 0, power = 1;
    for (size_t k = 0; k < polynomial.size(); ++k) {
      sum += polynomial[k] * moment;
      power *= from;
      const double edge = -power * std::exp(speed * from);
      moment = (edge - static_cast<double>(k + 1) * moment) / speed;
    }
    return sum;
  }

  // diffusers' second order is that of DPM-Solver++'s midpoint rule, to which the two differ by this.
  void bend(const Rule& rule, double rate, double h, std::vector<double>& weights) const {
    const double end = level(rule.from + 1).lambda(), begin = level(rule.from).lambda();
    const double exact = (h * rate - 1 + std::exp(-rate * h)) / (rate * rate);
    const double more =
        rule.corrects() ? h / 2 - exact / h : (h * h / 2 - exact) / (begin - level(rule.from - 1).lambda());
    weights[0] += std::exp(rate * end) * more;
    weights[1] -= std::exp(rate * end) * more;
  }

  size_t predictor_order_, corrector_order_;
  bool lower_order_final_, predicts_picture_ = true;
  std::vector<Tensor> history_;  // converted predictions, the newest at the end
  Tensor start_, noise_;         // the sample and the fresh noise that the last step began with
  size_t next_corrector_order_ = 1;
};

}  // namespace

std::unique_ptr<Schedule> make_sa_solver(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<SaSolver>(config, request);
}

}  // namespace diffract::schedulers
