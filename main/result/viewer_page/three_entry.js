// What the viewer takes of three.js 0.187.0. three.min.js is this file, bundled with esbuild 0.28.2:
// esbuild three_entry.js --bundle --minify --format=iife --global-name=THREE --legal-comments=inline
export {
  BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, HemisphereLight, LineBasicMaterial,
  LineSegments, Mesh, MeshBasicMaterial, MeshLambertMaterial, PerspectiveCamera, Scene, SRGBColorSpace,
  Texture, Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
