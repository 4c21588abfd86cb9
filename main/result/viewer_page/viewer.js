"use strict";
// The scene comes in camera axes (x right, y down, z forward); three.js has y up and looks along -z.

const scene = JSON.parse(document.getElementById("scene").textContent);
const canvas = document.getElementById("canvas");
const BEHIND = 1.25; // the picture stands so much farther than the farthest point of a hand
const ALONE = 1; // metres, where it stands if there is no hand
const VIEWS = { front: [0, 0, 1], side: [1, 0, 0.001], top: [0, 1, 0.001] }; // from where, seen from the hands

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}

/** Float32 x, y, z in camera axes -> in three.js's. */
function turned(values) {
  return values.map((value, i) => (i % 3 === 0 ? value : -value));
}

function handMesh(hand) {
  const geometry = new THREE.BufferGeometry();
  const places = turned(new Float32Array(bytes(hand.verts)));
  geometry.setAttribute("position", new THREE.BufferAttribute(places, 3));
  geometry.setIndex(new THREE.BufferAttribute(new Uint16Array(bytes(hand.faces)), 1));
  geometry.computeVertexNormals();
  geometry.computeBoundingBox();
  const material = new THREE.MeshLambertMaterial({ side: THREE.DoubleSide });
  material.color.setRGB(...hand.color, THREE.SRGBColorSpace);
  return new THREE.Mesh(geometry, material);
}

/** The picture's corners at a depth: upper left, upper right, lower right, lower left. */
function corners(depth) {
  const { fx, fy, cx, cy } = scene.camera;
  const [left, right] = [-0.5, scene.width - 0.5].map((u) => ((u - cx) / fx) * depth);
  const [top, bottom] = [-0.5, scene.height - 0.5].map((v) => -((v - cy) / fy) * depth);
  return [[left, top], [right, top], [right, bottom], [left, bottom]].map(([x, y]) => [x, y, -depth]);
}

function pictureMesh(depth) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(corners(depth).flat()), 3));
  geometry.setAttribute("uv", new THREE.BufferAttribute(new Float32Array([0, 1, 1, 1, 1, 0, 0, 0]), 2));
  geometry.setIndex([0, 2, 1, 0, 3, 2]);
  const texture = new THREE.Texture();
  texture.colorSpace = THREE.SRGBColorSpace;
  texture.image = new Image();
  texture.image.onload = () => {
    texture.needsUpdate = true;
    document.body.dataset.picture = "shown";
    draw();
  };
  texture.image.src = scene.picture;
  return new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({ map: texture, side: THREE.DoubleSide }));
}

/** Lines from the camera to the corners of its picture. */
function frustum(depth) {
  const ends = corners(depth);
  const points = ends.flatMap((end, i) => [[0, 0, 0], end, end, ends[(i + 1) % 4]]);
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(points.flat(2)), 3));
  return new THREE.LineSegments(geometry, new THREE.LineBasicMaterial({ color: 0xb0b0b0 }));
}

const meshes = scene.hands.map(handMesh);
const points = meshes.flatMap((mesh) => [mesh.geometry.boundingBox.min, mesh.geometry.boundingBox.max]);
const farthest = points.length ? Math.max(...points.map((point) => -point.z)) : ALONE / BEHIND;
const depth = farthest * BEHIND;
const picture = pictureMesh(depth);
const world = new THREE.Scene();
const camera = new THREE.PerspectiveCamera(45, 1, depth / 1000, depth * 20);
const light = new THREE.DirectionalLight(0xffffff, 2);
camera.add(light);
light.position.set(0.3, 0.4, 1); // about the camera
world.add(new THREE.HemisphereLight(0xffffff, 0x777777, 1.4), camera, picture, frustum(depth), ...meshes);

const middle = new THREE.Vector3(0, 0, -depth);
if (points.length) {
  middle.set(0, 0, 0);
  points.forEach((point) => middle.addScaledVector(point, 1 / points.length));
}
const size = points.length ? Math.max(...points.map((point) => point.distanceTo(middle))) : depth / 2;

const renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
renderer.setClearColor(0x202226);
const controls = new THREE.OrbitControls(camera, canvas);
controls.addEventListener("change", draw);
let current = "picture";
controls.addEventListener("start", () => { current = ""; });

function draw() {
  renderer.render(world, camera);
  document.body.dataset.drawn = String(renderer.info.render.triangles);
}

/** A lens in which the whole picture just fits. */
function fitPicture() {
  const [[left, top], , [right, bottom]] = corners(1);
  const across = Math.max(-left, right), up = Math.max(top, -bottom);
  camera.fov = (2 * Math.atan(Math.max(up, across / camera.aspect)) * 180) / Math.PI;
}

function look(view) {
  current = view;
  fitPicture();
  if (view === "picture") {
    camera.position.set(0, 0, 0);
    controls.target.set(0, 0, middle.z);
  } else {
    const half = (Math.min(camera.fov, 2 * Math.atan(Math.tan((camera.fov * Math.PI) / 360) * camera.aspect)
      * 180 / Math.PI) * Math.PI) / 360;
    const from = new THREE.Vector3(...VIEWS[view]).normalize();
    camera.position.copy(middle).addScaledVector(from, (1.1 * size) / Math.sin(half));
    controls.target.copy(middle);
  }
  camera.updateProjectionMatrix();
  controls.update();
  draw();
}

function resize() {
  renderer.setPixelRatio(window.devicePixelRatio);
  renderer.setSize(window.innerWidth, window.innerHeight, false);
  camera.aspect = window.innerWidth / window.innerHeight;
  camera.updateProjectionMatrix();
  if (current) look(current);
  else draw();
}

document.querySelectorAll("[data-view]").forEach((button) => {
  button.addEventListener("click", () => look(button.dataset.view));
});
document.getElementById("show-picture").addEventListener("change", (event) => {
  picture.visible = event.target.checked;
  draw();
});
document.getElementById("show-wires").addEventListener("change", (event) => {
  meshes.forEach((mesh) => { mesh.material.wireframe = event.target.checked; });
  draw();
});
document.getElementById("words").textContent = scene.words;
window.addEventListener("resize", resize);
resize();
const wanted = window.location.hash.slice(1); // viewer.html#side opens that view
if (wanted in VIEWS) look(wanted);
