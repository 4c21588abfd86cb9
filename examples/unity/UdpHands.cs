// Shows the hands that `python main/demo.py --udp 9000` sends as 21 small spheres each.
// Put this file and HandDatagram.cs into Assets/, add the component to an empty object and press Play.

using System.Net;
using System.Net.Sockets;
using UnityEngine;

namespace LGNet
{
    public sealed class UdpHands : MonoBehaviour
    {
        public int Port = 9000;
        public float SphereSize = 0.012f; // metres

        private const int Joints = 21;
        private UdpClient receiver;
        private Transform right, left;

        /// <summary>Camera axes (x right, y down, z forward, right-handed) to Unity's (y up, left-handed).</summary>
        public static Vector3 Position(float[] values, int start)
        {
            return new Vector3(values[start], -values[start + 1], values[start + 2]);
        }

        /// <summary>The same mirroring of a rotation: its axis is mirrored and it turns the other way.</summary>
        public static Quaternion Rotation(float[] xyzw)
        {
            return new Quaternion(-xyzw[0], xyzw[1], -xyzw[2], xyzw[3]);
        }

        private void OnEnable()
        {
            receiver = new UdpClient(new IPEndPoint(IPAddress.Loopback, Port));
            right = right != null ? right : MakeHand("right hand", Color.red);
            left = left != null ? left : MakeHand("left hand", Color.blue);
        }

        private void OnDisable()
        {
            receiver.Close();
        }

        private void Update()
        {
            HandDatagram newest = null; // older ones that wait are of no use any more
            while (receiver.Available > 0)
            {
                var sender = new IPEndPoint(IPAddress.Any, 0);
                newest = HandDatagram.Read(receiver.Receive(ref sender)) ?? newest;
            }
            if (newest == null)
                return;
            Show(right, newest.Right);
            Show(left, newest.Left);
        }

        private static void Show(Transform root, HandDatagram.Hand hand)
        {
            root.gameObject.SetActive(hand.Present);
            if (!hand.Present)
                return;
            for (int i = 0; i < Joints; i++)
                root.GetChild(i).localPosition = Position(hand.Joints, 3 * i);
            root.GetChild(0).localRotation = Rotation(hand.WristRotation);
        }

        private Transform MakeHand(string name, Color color)
        {
            var root = new GameObject(name).transform;
            root.SetParent(transform, false);
            for (int i = 0; i < Joints; i++)
            {
                var sphere = GameObject.CreatePrimitive(PrimitiveType.Sphere);
                sphere.transform.SetParent(root, false);
                sphere.transform.localScale = Vector3.one * SphereSize;
                sphere.GetComponent<Renderer>().material.color = color;
            }
            return root;
        }
    }
}
