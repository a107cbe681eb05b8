import type { Manifest } from '@ddpm/shared'

/** What a repository contains, for its card. */
export interface CardContents {
  /** Paths of the files in the repository. */
  readonly paths: readonly string[]
  /** Why diffusers cannot load the network; null if it can, or if the weights for PyTorch are missing. */
  readonly obstacle: string | null
}

/** First line after the metadata of a card that this program wrote. Only such a card is replaced. */
export const cardMark = '<!-- Written by "npm run publish". Remove this line to keep your own changes. -->'

/** Writes the model card: README.md with metadata as the hub defines them (https://huggingface.co/docs/hub/model-cards). */
export function writeModelCard(manifest: Manifest, { paths, obstacle }: CardContents): string {
  const { name, description, shape, classes, training } = manifest
  const hasUNet = paths.includes('unet/config.json')
  const metadata = [
    `library_name: ${hasUNet ? 'diffusers' : 'onnx'}`,
    'pipeline_tag: unconditional-image-generation',
    ...licenceMetadata(manifest.licence),
    'tags:',
    ...['ddpm', 'diffusion', 'onnx', ...(hasUNet ? ['diffusers'] : [])].map((tag) => `- ${tag}`),
  ]
  const facts = [
    `- Images: ${shape.width}×${shape.height}, ${shape.channels === 1 ? 'grey' : `${shape.channels} channels`}`,
    ...(classes.length > 0 ? [`- Classes: ${classes.join(', ')}`] : []),
    `- Training: ${training.steps} steps of ${training.batchSize} images, ${training.parameters} parameters, recipe ` +
      `\`${training.recipe}\`, data \`${training.data}\` (${training.pictures} images)`,
    `- Licence: ${manifest.licence}`,
  ]
  return [
    '---',
    ...metadata,
    '---',
    cardMark,
    '',
    `# ${name}`,
    '',
    description,
    ...(paths.includes('preview.png') ? ['', '![Samples of the model](preview.png)'] : []),
    '',
    ...facts,
    '',
    '## In a web page',
    '',
    "The images are generated on the visitor's device, with the npm package `ddpm-sampler`:",
    '',
    '```js',
    "import { load } from 'ddpm-sampler'",
    '',
    `const model = await load('hf:${name}')`,
    'const [image] = await model.sample({ seed: 7 })',
    '```',
    '',
    '## In Python',
    '',
    ...pythonSection(manifest, paths, obstacle),
    '',
  ].join('\n')
}

function pythonSection({ name }: Manifest, paths: readonly string[], obstacle: string | null): string[] {
  if (paths.includes('model_index.json')) {
    return [
      '```python',
      'from diffusers import DDPMPipeline',
      '',
      `image = DDPMPipeline.from_pretrained("${name}")().images[0]`,
      '```',
    ]
  }
  if (paths.includes('unet/config.json')) {
    return [
      'diffusers has no pipeline for this model, because it has classes. `class_labels` are the indices of the classes;',
      'their number means "no class".',
      '',
      '```python',
      'from diffusers import DDPMScheduler, UNet2DModel',
      '',
      `unet = UNet2DModel.from_pretrained("${name}", subfolder="unet")`,
      `scheduler = DDPMScheduler.from_pretrained("${name}", subfolder="scheduler")`,
      '```',
    ]
  }
  const reason = obstacle === null ? '' : `diffusers cannot load this network: ${obstacle}. `
  const weights = paths.includes('model.safetensors') ? ' `model.safetensors` has the weights.' : ''
  return [`${reason}\`model.onnx\` runs with onnxruntime.${weights}`]
}

/** The hub's identifiers of common licences (https://huggingface.co/docs/hub/repositories-licenses). */
const licences = new Set([
  ...['apache-2.0', 'mit', 'openrail', 'creativeml-openrail-m', 'afl-3.0', 'artistic-2.0', 'bsl-1.0', 'bsd'],
  ...['bsd-2-clause', 'bsd-3-clause', 'cc', 'cc0-1.0', 'cc-by-2.0', 'cc-by-2.5', 'cc-by-3.0', 'cc-by-4.0'],
  ...['cc-by-sa-3.0', 'cc-by-sa-4.0', 'cc-by-nc-2.0', 'cc-by-nc-3.0', 'cc-by-nc-4.0', 'cc-by-nd-4.0'],
  ...['cc-by-nc-nd-3.0', 'cc-by-nc-nd-4.0', 'cc-by-nc-sa-2.0', 'cc-by-nc-sa-3.0', 'cc-by-nc-sa-4.0'],
  ...[
    'agpl-3.0',
    'gpl',
    'gpl-2.0',
    'gpl-3.0',
    'lgpl',
    'lgpl-2.1',
    'lgpl-3.0',
    'isc',
    'mpl-2.0',
    'odbl',
    'odc-by',
  ],
  ...['pddl', 'unlicense', 'wtfpl', 'zlib'],
])

/** The hub accepts only its own identifiers. Other licences are named in addition to the identifier "other". */
function licenceMetadata(licence: string): string[] {
  const identifier = licence.toLowerCase()
  if (identifier === 'unspecified' || identifier === '') return []
  if (licences.has(identifier)) return [`license: ${identifier}`]
  // A JSON string is a valid YAML string.
  return ['license: other', `license_name: ${JSON.stringify(licence)}`]
}
