// One datagram of `python main/demo.py --udp 9000`, as docs/udp.md describes it. Plain C#: no Unity in this file.

using System;
using System.Text;

namespace LGNet
{
    public sealed class HandDatagram
    {
        public const int Size = HeaderSize + 2 * HandSize;
        private const int HeaderSize = 40, HandSize = 516;
        private const int GivenCamera = 4;

        /// <summary>One hand. Metres; camera axes: x right, y down, z forward.</summary>
        public sealed class Hand
        {
            public bool Present;
            public float Probability;
            public float[] WristPosition; // x, y, z
            public float[] WristRotation; // quaternion x, y, z, w
            public float[] Joints;        // 21 times x, y, z: wrist, thumb to pinky, base to tip
            public float[] ManoPose;      // 16 times an axis-angle
            public float[] ManoShape;     // 10 betas
        }

        public uint Frame;
        public double Time; // seconds since 1970
        public int ImageWidth, ImageHeight;
        public float[] Camera; // fx, fy, cx, cy: u = fx x / z + cx, v = fy y / z + cy
        public bool Metric;    // the camera was given, not guessed
        public Hand Right, Left;

        /// <summary>The values of a datagram; null if it is of another kind or version.</summary>
        public static HandDatagram Read(byte[] data)
        {
            if (data == null || data.Length != Size)
                return null;
            if (Encoding.ASCII.GetString(data, 0, 4) != "LGN2" || UInt16At(data, 4) != 1)
                return null;
            int flags = UInt16At(data, 6);
            return new HandDatagram
            {
                Frame = (uint)(UInt16At(data, 8) | UInt16At(data, 10) << 16),
                ImageWidth = UInt16At(data, 12),
                ImageHeight = UInt16At(data, 14),
                Time = BitConverter.ToDouble(LittleEndian(data, 16, 8), 0),
                Camera = Floats(data, 24, 4),
                Metric = (flags & GivenCamera) != 0,
                Right = ReadHand(data, HeaderSize, (flags & 1) != 0),
                Left = ReadHand(data, HeaderSize + HandSize, (flags & 2) != 0),
            };
        }

        private static Hand ReadHand(byte[] data, int start, bool present)
        {
            return new Hand
            {
                Present = present,
                Probability = Floats(data, start, 1)[0],
                WristPosition = Floats(data, start + 4, 3),
                WristRotation = Floats(data, start + 16, 4),
                Joints = Floats(data, start + 32, 63),
                ManoPose = Floats(data, start + 284, 48),
                ManoShape = Floats(data, start + 476, 10),
            };
        }

        private static int UInt16At(byte[] data, int start)
        {
            return data[start] | data[start + 1] << 8;
        }

        private static float[] Floats(byte[] data, int start, int count)
        {
            var values = new float[count];
            for (int i = 0; i < count; i++)
                values[i] = BitConverter.ToSingle(LittleEndian(data, start + 4 * i, 4), 0);
            return values;
        }

        /// <summary>So many bytes in the order that BitConverter takes on this machine.</summary>
        private static byte[] LittleEndian(byte[] data, int start, int count)
        {
            var bytes = new byte[count];
            Array.Copy(data, start, bytes, 0, count);
            if (!BitConverter.IsLittleEndian)
                Array.Reverse(bytes);
            return bytes;
        }
    }
}
