import Tessera
import TesseraLayers
import Testing

@testable import TesseraCompression

/// Recipes as JSON: what is read, and that everything else is refused by its name.
@Suite struct RecipeTests {
  private func recipe(_ text: String) throws(RecipeError) -> Recipe { try Recipe(parsing: text, file: "r") }

  @Test func everyMemberIsRead() throws {
    let recipe = try recipe(
      """
      {"name": "all", "description": "x", "calibration": {"tokens": 2048, "window": 128},
       "weights": [
        {"layers": ["*.down_proj", "lm_head"], "format": "razer-g16", "refits": 2, "clips": [1, 0.9],
         "special_values": [5, -5, 7, -7], "weighted": true,
         "error_feedback": {"damping": 0.05, "order": "descending_moment"}},
        {"layers": "*", "format": "bitmap-razer-g128", "sparsity": 0.5, "criterion": "wanda", "scope": "matrix"}],
       "cache": {"keys": "bf16", "values": "int8"},
       "low_rank": {"keys": {"ratio": 0.5, "heads_per_group": 2, "objective": "scores", "rotated": true},
                    "values": {"ratio": 0.7, "ranks": "fisher", "fused": true}}}
      """)
    let quantization = Recipe.Quantization(
      refits: 2, clips: [1, 0.9], specialValues: [5, -5, 7, -7], weightsInputs: true,
      errorFeedback: Recipe.ErrorFeedback(damping: 0.05, order: .descendingMoment))
    let expected = Recipe(
      name: "all",
      rules: [
        Recipe.Rule("*.down_proj", "lm_head", format: .razerG16, quantization: quantization),
        Recipe.Rule("*", format: .bitmapRazerG128, sparsity: Recipe.Sparsity(0.5, by: .wanda, scope: .matrix)),
      ],
      valueFormat: .int8, keys: Recipe.LowRank(ratio: 0.5, headsPerGroup: 2, objective: .scores, isRotated: true),
      values: Recipe.LowRank(ratio: 0.7, rule: .fisher, isFused: true),
      calibration: Recipe.Calibration(tokens: 2048, window: 128))
    #expect(recipe == expected)
    #expect(try self.recipe(recipe.json) == recipe)
    #expect(try self.recipe(recipe.json).json == recipe.json)
    #expect(recipe.needsCalibration)
    #expect(recipe.rule(for: "model.layers.3.mlp.down_proj")?.format == .razerG16)
    #expect(recipe.rule(for: "model.layers.3.mlp.up_proj")?.format == .bitmapRazerG128)
  }

  @Test func keysAndValuesMayShareABudget() throws {
    let recipe = try recipe(
      #"""
      {"name": "a", "low_rank": {"shared": true, "keys": {"ratio": 0.5, "ranks": "fisher"},
       "values": {"ratio": 0.5, "heads_per_group": 4, "ranks": "fisher"}}}
      """#)
    #expect(recipe.sharesRanks && recipe.needsScores && recipe.values?.headsPerGroup == 4)
    #expect(try self.recipe(recipe.json) == recipe)
  }

  @Test func theLeastRecipeKeepsEverything() throws {
    let recipe = try recipe(#"{"name": "none"}"#)
    #expect(recipe == Recipe(name: "none") && !recipe.needsCalibration && recipe.rule(for: "lm_head") == nil)
  }

  @Test(arguments: [
    ("*", "", true), ("", "", true), ("a", "", false), ("*.q_proj", "layers.1.q_proj", true), ("*.q_proj", "q_proj", false),
    ("model.layers.1.*", "model.layers.11.x", false), ("a*b*c", "a__b_bc", true), ("a*b*c", "a__b_b", false),
    ("**", "x", true), ("model.layers.*.mlp.*", "model.layers.7.mlp.up_proj", true), ("é*", "éa", true),
  ])
  func patternsMatch(pattern: String, name: String, matches: Bool) {
    #expect(Recipe.matches(name, pattern) == matches)
  }

  @Test(arguments: [
    (#"{"name": "a", "wieghts": []}"#, "'wieghts' is unknown"), (#"{}"#, "'name' is missing"),
    (#"{"name": 1}"#, "'name' is 1"), (#"{"name": "a", "weights": {}}"#, "'weights' is {}"),
    (#"{"name": "a", "weights": [1]}"#, "'weights[0]' is 1"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "bf16"}, {"layers": "*"}]}"#, "'weights[1].format' is missing"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "fp5"}]}"#, #"'weights[0].format' is "fp5""#),
    (#"{"name": "a", "weights": [{"layers": [], "format": "bf16"}]}"#, "'weights[0].layers' is []"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "bf16", "spasity": 0.5}]}"#, "'weights[0].spasity' is unknown"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "bf16", "sparsity": 1.5}]}"#, "'weights[0].sparsity' is 1.5"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "bf16", "criterion": "wanda"}]}"#, "'weights[0].criterion'"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "bitmap-bf16"}]}"#, "'weights[0].format'"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "bf16", "refits": 1}]}"#, "'weights[0].refits'"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "nvfp4", "special_values": [5]}]}"#, "'weights[0].special_values'"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "nvfp4", "clips": [9]}]}"#, "'weights[0].clips' is [9]"),
    (#"{"name": "a", "weights": [{"layers": "*", "format": "bf16", "error_feedback": true}]}"#, "'weights[0].error_feedback'"),
    (
      #"{"name": "a", "weights": [{"layers": "*", "format": "bf16", "sparsity": 0.5, "refits": 1}]}"#, "'weights[0].refits'"
    ),
    (
      #"{"name": "a", "weights": [{"layers": "*", "format": "nvfp4", "error_feedback": {"dampening": 1}}]}"#,
      "'weights[0].error_feedback.dampening' is unknown"
    ),
    (#"{"name": "a", "cache": {"keys": "fp5"}}"#, #"'cache.keys' is "fp5""#),
    (#"{"name": "a", "low_rank": {"keys": {}}}"#, "'low_rank.keys.ratio' is missing"),
    (#"{"name": "a", "low_rank": {"keys": {"ratio": 0.5, "fused": true}}}"#, "'low_rank.keys.fused' is unknown"),
    (#"{"name": "a", "low_rank": {"values": {"ratio": 0.5, "objective": "scores"}}}"#, "'low_rank.values.objective'"),
    (#"{"name": "a", "low_rank": {"shared": true, "keys": {"ratio": 0.5}}}"#, "'low_rank.shared'"),
    (#"{"name": "a", "low_rank": {"shared": true, "keys": {"ratio": 0.5}, "values": {"ratio": 0.6}}}"#, "'low_rank.shared'"),
    (
      #"{"name": "a", "low_rank": {"shared": true, "keys": {"ratio": 0.5}, "values": {"ratio": 0.5, "ranks": "fisher"}}}"#,
      "'low_rank.shared'"
    ),
    (#"{"name": "a", "calibration": {"tokens": 0}}"#, "'calibration.tokens' is 0"),
    (#"{"name": "a", "name": "b"}"#, "'name' occurs twice"), (#"{"name": "a",}"#, "header byte"),
  ])
  func mistakesAreNamed(text: String, message: String) {
    let error = #expect(throws: RecipeError.self) { () throws(RecipeError) in try recipe(text) }
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    #expect(error?.description.hasPrefix("r: ") == true)
  }

  @Test func shippedRecipesAreRight() throws {
    let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    for name in ["bf16", "int8", "razer-g128", "razer-g16-palu", "sparse-razer"] {
      let recipe = try Recipe(path: "\(folder)/Examples/Recipes/\(name).json")
      #expect(recipe.name == name)
    }
    #expect(throws: RecipeError.file(.cannotOpen(file: "no-such-recipe", errno: 2))) { try Recipe(path: "no-such-recipe") }
  }
}
