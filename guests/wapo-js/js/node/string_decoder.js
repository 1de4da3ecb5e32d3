// node:string_decoder, from the package of that name.
import decoder from "npm:string_decoder";

export const { StringDecoder } = decoder;
export default { StringDecoder };
