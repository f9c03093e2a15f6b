using System.Globalization;
using System.Text;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Tests.Models;

/// <summary>A small Llama model of random weights, in the two orders of rows that formats have, and its forward pass
/// in float64.</summary>
internal sealed class TinyLlama
{
    public const int Dim = 32, HiddenDim = 40, Layers = 2, Heads = 4, KvHeads = 2, HeadDim = 8, Vocabulary = 11, Context = 16;

    private const float Epsilon = 1e-5f;

    private readonly Dictionary<string, (long[] Shape, float[] Values)> _tensors = [];
    private readonly string _extraConfig;

    /// <summary>Makes a model.</summary>
    /// <param name="frequency">The frequency of a pair of a head.</param>
    /// <param name="extraConfig">What config.json says of the rotary embedding.</param>
    /// <param name="isTied">Whether the classifier is the embedding.</param>
    public TinyLlama(Func<int, double> frequency, string extraConfig = "", bool isTied = true)
    {
        Frequency = frequency;
        _extraConfig = extraConfig;
        var random = new Random(17);
        Add("model.embed_tokens.weight", Vocabulary, Dim);
        for (int layer = 0; layer < Layers; layer++)
        {
            string at = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
            Add(at + "input_layernorm.weight", Dim);
            Add(at + "self_attn.q_proj.weight", Heads * HeadDim, Dim);
            Add(at + "self_attn.k_proj.weight", KvHeads * HeadDim, Dim);
            Add(at + "self_attn.v_proj.weight", KvHeads * HeadDim, Dim);
            Add(at + "self_attn.o_proj.weight", Dim, Heads * HeadDim);
            Add(at + "post_attention_layernorm.weight", Dim);
            Add(at + "mlp.gate_proj.weight", HiddenDim, Dim);
            Add(at + "mlp.up_proj.weight", HiddenDim, Dim);
            Add(at + "mlp.down_proj.weight", Dim, HiddenDim);
        }

        Add("model.norm.weight", Dim);
        if (!isTied)
        {
            Add("lm_head.weight", Vocabulary, Dim);
        }

        void Add(string name, params long[] shape)
        {
            var values = new float[shape.Aggregate((product, size) => product * size)];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = (float)(random.NextDouble() * 2 - 1) * (shape.Length == 1 ? 2 : 0.7f);
            }

            _tensors.Add(name, (shape, values));
        }
    }

    public Func<int, double> Frequency { get; }

    /// <summary>Names of the tensors.</summary>
    public IEnumerable<string> Names => _tensors.Keys;

    /// <summary>Writes a folder as Hugging Face has it.</summary>
    public void SaveHuggingFace(TemporaryFolder folder, string without = "", string architecture = "llama", string additional = "")
    {
        var writer = new SafetensorsWriter();
        foreach ((string name, (long[] shape, float[] values)) in _tensors)
        {
            if (name != without)
            {
                writer.Add(name, shape, values);
            }
        }

        if (additional.Length > 0)
        {
            writer.Add(additional, [Dim], new float[Dim]);
        }

        writer.Save(folder.PathOf("model.safetensors"));
        string config = $$"""
            {"model_type": "{{architecture}}", "hidden_size": {{Dim}}, "intermediate_size": {{HiddenDim}}, "num_hidden_layers": {{Layers}},
            "num_attention_heads": {{Heads}}, "num_key_value_heads": {{KvHeads}}, "vocab_size": {{Vocabulary}}, "max_position_embeddings": {{Context}},
            "rms_norm_eps": 1e-5{{_extraConfig}}}
            """;
        folder.Write("config.json", Encoding.UTF8.GetBytes(config));
    }

    /// <summary>Writes a legacy llama2.c checkpoint: rows of queries and keys in the order of the training, pairs
    /// beside each other.</summary>
    public string SaveLlama2c(TemporaryFolder folder)
    {
        var file = new MemoryStream();
        using var writer = new BinaryWriter(file);
        int vocabulary = _tensors.ContainsKey("lm_head.weight") ? -Vocabulary : Vocabulary;
        Array.ForEach([Dim, HiddenDim, Layers, Heads, KvHeads, vocabulary, Context], writer.Write);
        Write("model.embed_tokens");
        foreach (string part in new[]
            {
                "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm",
                "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj",
            })
        {
            for (int layer = 0; layer < Layers; layer++)
            {
                Write(string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.{part}"));
            }
        }

        Write("model.norm");
        writer.Write(new byte[Context * HeadDim * sizeof(float)]);
        if (vocabulary < 0)
        {
            Write("lm_head");
        }

        return folder.Write("model.bin", file.ToArray());

        void Write(string name)
        {
            bool isRotated = name.EndsWith("q_proj", StringComparison.Ordinal) || name.EndsWith("k_proj", StringComparison.Ordinal);
            (long[] shape, float[] values) = _tensors[name + ".weight"];
            int width = (int)shape[^1], rows = values.Length / width;
            for (int row = 0; row < rows; row++)
            {
                // Row 2i of a head is row i of the halves, row 2i + 1 is row i + half.
                int inHead = row % HeadDim;
                int from = isRotated ? row - inHead + inHead / 2 + inHead % 2 * (HeadDim / 2) : row;
                foreach (float value in values.AsSpan(from * width, width))
                {
                    writer.Write(value);
                }
            }
        }
    }

    /// <summary>The logits after each token, in float64.</summary>
    public double[][] Forward(int[] tokens)
    {
        double[][] x = [.. tokens.Select(token => Row("model.embed_tokens.weight", token))];
        for (int layer = 0; layer < Layers; layer++)
        {
            string at = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
            double[][] normed = Norm(x, at + "input_layernorm.weight");
            Add(x, Linear(Attention(normed, at), at + "self_attn.o_proj.weight"));
            normed = Norm(x, at + "post_attention_layernorm.weight");
            double[][] gate = Linear(normed, at + "mlp.gate_proj.weight"), up = Linear(normed, at + "mlp.up_proj.weight");
            double[][] active = [.. gate.Zip(up, (g, u) => g.Zip(u, (a, b) => a / (1 + Math.Exp(-a)) * b).ToArray())];
            Add(x, Linear(active, at + "mlp.down_proj.weight"));
        }

        return Linear(Norm(x, "model.norm.weight"), _tensors.ContainsKey("lm_head.weight") ? "lm_head.weight" : "model.embed_tokens.weight");
    }

    private double[][] Attention(double[][] x, string at)
    {
        double[][] queries = Linear(x, at + "self_attn.q_proj.weight"), keys = Linear(x, at + "self_attn.k_proj.weight");
        double[][] values = Linear(x, at + "self_attn.v_proj.weight");
        var output = new double[x.Length][];
        for (int t = 0; t < x.Length; t++)
        {
            output[t] = new double[Heads * HeadDim];
            for (int head = 0; head < Heads; head++)
            {
                int kvStart = head / (Heads / KvHeads) * HeadDim;
                double[] query = Rotated(queries[t], head * HeadDim, t);
                double[] weights = [.. Enumerable.Range(0, t + 1).Select(s => Math.Exp(Dot(query, Rotated(keys[s], kvStart, s)) / Math.Sqrt(HeadDim)))];
                for (int d = 0; d < HeadDim; d++)
                {
                    output[t][head * HeadDim + d] = weights.Select((weight, s) => weight * values[s][kvStart + d]).Sum() / weights.Sum();
                }
            }
        }

        return output;
    }

    private double[] Rotated(double[] row, int start, int position)
    {
        double[] head = row[start..(start + HeadDim)];
        const int Half = HeadDim / 2;
        for (int i = 0; i < Half; i++)
        {
            (double sine, double cosine) = Math.SinCos(position * Frequency(i));
            (head[i], head[i + Half]) = (head[i] * cosine - head[i + Half] * sine, head[i] * sine + head[i + Half] * cosine);
        }

        return head;
    }

    private double[] Row(string name, int row)
    {
        (long[] shape, float[] values) = _tensors[name];
        int width = (int)shape[^1];
        return [.. values.Skip(row * width).Take(width).Select(value => (double)value)];
    }

    private double[][] Linear(double[][] x, string name) =>
        [.. x.Select(row => Enumerable.Range(0, (int)_tensors[name].Shape[0]).Select(n => Dot(row, Row(name, n))).ToArray())];

    private double[][] Norm(double[][] x, string name)
    {
        double[] weight = Row(name, 0);
        return [.. x.Select(row => row.Zip(weight, (value, w) => value / Math.Sqrt(Dot(row, row) / Dim + Epsilon) * w).ToArray())];
    }

    private static void Add(double[][] x, double[][] y)
    {
        for (int t = 0; t < x.Length; t++)
        {
            x[t] = [.. x[t].Zip(y[t], (a, b) => a + b)];
        }
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
